"""Ports and cameras of a robot."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.recorded import BY_PATH, beside_kernel, change, copied, link, machine, robot_file
from wall_edge.board import Tree
from wall_edge.config import load_robot
from wall_edge.doctor.rules import rules


@pytest.mark.parametrize(
    ("target", "fix"), [("ttyACM0", "port: /dev/serial/by-id/usb-1a86"), ("ttyUSB7", "wall-edge udev")]
)
def test_a_port_by_number_is_told_its_name(tmp_path: Path, target: str, fix: str) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, f"/dev/{target}", "")
    (one,) = beside_kernel(machine(root, robot_file(tmp_path, port=f"/dev/{target}")))
    assert (one.severity, one.check) == ("warning", "serial-port")
    assert fix in one.fix


def test_a_login_on_the_uart_of_the_header(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/dev/ttyTHS1", "")
    link(
        root,
        "/etc/systemd/system/multi-user.target.wants/nvgetty.service",
        "/etc/systemd/system/nvgetty.service",
    )
    robot = robot_file(tmp_path, port="/dev/ttyTHS1")
    (one,) = beside_kernel(machine(root, robot))
    assert (one.severity, one.check) == ("error", "serial-console")
    assert one.fix.startswith("sudo systemctl disable --now nvgetty")
    assert beside_kernel(machine(root, robot_file(tmp_path))) == []  # nobody else uses that port


def test_rules_of_ours_keep_modem_manager_away(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    link(
        root,
        "/etc/systemd/system/multi-user.target.wants/ModemManager.service",
        "/lib/systemd/system/M.service",
    )
    change(root, "/etc/udev/rules.d/99-wall-edge.rules", 'ENV{ID_MM_DEVICE_IGNORE}="1"')
    assert beside_kernel(machine(root, robot_file(tmp_path))) == []


def cameras(tmp_path: Path, first: object, second: object, **settings: object) -> Path:
    sizes = {"kind": "opencv", "width": 640, "height": 480, "rate_hz": 30, **settings}
    views = {"face_view": {"device": first, **sizes}, "wrist_view": {"device": second, **sizes}}
    return robot_file(tmp_path, cameras=views)


def test_a_camera_by_number_and_one_that_gives_no_pictures(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    first, second = beside_kernel(machine(root, cameras(tmp_path, 0, "/dev/video3")))
    assert (first.severity, first.check) == (second.severity, second.check) == ("warning", "cameras")
    assert "by-path" in first.fix
    assert "not its first node" in second.what


def test_streams_are_not_looked_for(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    assert beside_kernel(machine(root, cameras(tmp_path, "rtsp://a/1", "v4l2src ! appsink"))) == []


def test_two_large_cameras_on_one_bus(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    robot = cameras(tmp_path, BY_PATH.format("4.1"), BY_PATH.format("4.2"), width=1280, height=720)
    (one,) = beside_kernel(machine(root, robot))
    assert (one.severity, one.check) == ("note", "camera-bandwidth")
    assert "885 Mbit/s" in one.what  # 2 x 1280 x 720 x 2 x 8 x 30


def test_every_serial_drive_is_looked_at(tmp_path: Path) -> None:
    """A second bus, of which the first knows nothing: its port by its key."""
    root = copied("agx-orin-64", tmp_path)
    path = robot_file(tmp_path)
    data = yaml.safe_load(path.read_text())
    data["drives"]["hand"] = {"kind": "feetech", "port": "/dev/ttyUSB3"}
    data["joints"] = [{**joint, "drive": "arm"} for joint in data["joints"]]
    data["joints"][5]["drive"] = "hand"
    path.write_text(yaml.safe_dump(data))
    (one,) = beside_kernel(machine(root, path))
    assert (one.severity, one.check) == ("error", "serial-port")
    assert one.what.startswith("drives.hand.port /dev/ttyUSB3 is not there; plugged in: ")
    lines = rules(Tree(root), load_robot(path))
    assert any("drives.arm.port: /dev/" in line for line in lines)
    assert any(line == "# drives.hand.port: /dev/wall-edge/so101-hand" for line in lines)
