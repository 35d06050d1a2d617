"""udev rules: names, settings, and serial numbers that would like to be rules themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recorded import BOARDS, BY_PATH, change, copied, robot_file
from wall_edge.board import Tree
from wall_edge.config import load_robot
from wall_edge.doctor.can_network import can_network
from wall_edge.doctor.rules import rules
from wall_edge.errors import ConfigError, printable

DEVICE = "/sys/bus/usb/devices/1-2"
RULE = re.compile(
    r'(SUBSYSTEM=="(tty|video4linux|usb-serial)"|ACTION=="add\|change"|KERNELS=="[\w.*:+-]+"|ATTRS?\{\w+\}==?"[\w.*:+-]*"'
    r'|SYMLINK\+="[\w/.+-]+"|GROUP="(dialout|video)"|MODE="0660"|ENV\{ID_MM_\w+\}="1"|, )+',
    re.ASCII,
)


def of(root: Path, robot: Path | None) -> list[str]:
    """The rules without comments; every line, as it is printed, is a comment or matches the grammar."""
    lines = [printable(line) for line in rules(Tree(root), None if robot is None else load_robot(robot))]
    plain = [line for line in lines if line and not line.startswith("#")]
    assert all("\n" not in line for line in lines)
    assert all(RULE.fullmatch(line) for line in plain), plain
    return plain


def test_a_robot_s_port_and_cameras(tmp_path: Path) -> None:
    assert of(BOARDS / "agx-orin-64", robot_file(tmp_path)) == [
        'SUBSYSTEM=="tty", ATTRS{idVendor}=="1a86", ATTRS{idProduct}=="55d3", ATTRS{serial}=="5A68012345", '
        'SYMLINK+="wall-edge/so101-bus", GROUP="dialout", MODE="0660", '
        'ENV{ID_MM_DEVICE_IGNORE}="1", ENV{ID_MM_PORT_IGNORE}="1"',
        'SUBSYSTEM=="video4linux", KERNELS=="1-4.1", ATTR{index}=="0", '
        'SYMLINK+="wall-edge/so101-face_view", GROUP="video", MODE="0660"',
        'SUBSYSTEM=="video4linux", KERNELS=="1-4.2", ATTR{index}=="0", '
        'SYMLINK+="wall-edge/so101-wrist_view", GROUP="video", MODE="0660"',
    ]


def test_an_ftdi_port_gets_its_latency(tmp_path: Path) -> None:
    robot = robot_file(tmp_path, port="/dev/ttyUSB0")
    port, latency = of(BOARDS / "agx-orin-64-faults", robot)[:2]
    assert 'KERNELS=="1-1"' in port  # it has no serial number
    assert latency == 'ACTION=="add|change", SUBSYSTEM=="usb-serial", KERNELS=="1-1", ATTR{latency_timer}="1"'


def test_without_a_robot_every_port_is_named() -> None:
    named = of(BOARDS / "agx-orin-64-faults", None)
    assert [line for line in named if 'SYMLINK+="wall-edge/serial0"' in line and '"5A68012345"' in line]
    assert [line for line in named if 'SYMLINK+="wall-edge/serial1"' in line]


def test_a_link_that_the_robot_names_keeps_its_name(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    (root / "dev/so101-arm").symlink_to("ttyACM0")
    assert 'SYMLINK+="so101-arm"' in of(root, robot_file(tmp_path, port="/dev/so101-arm"))[0]


def test_what_is_not_plugged_in_has_no_rule_but_a_word(tmp_path: Path) -> None:
    robot = robot_file(tmp_path, port="/dev/ttyACM5")
    lines = rules(Tree(BOARDS / "agx-orin-64"), load_robot(robot))
    assert "# /dev/ttyACM5 is no USB device that is plugged in: no rule. Plug it in, run this again." in lines
    assert "# plugged in: /dev/ttyACM0, USB Single Serial 5A68012345" in lines


def test_streams_have_no_rule(tmp_path: Path) -> None:
    views = {"front": {"kind": "opencv", "device": "rtsp://host/1", "width": 640, "height": 480}}
    assert len(of(BOARDS / "agx-orin-64", robot_file(tmp_path, cameras=views))) == 1


def test_adapters_of_one_serial_number_go_by_their_place(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    for name, text in {"idVendor": "1a86", "idProduct": "55d3", "serial": "5A68012345"}.items():
        change(root, f"/sys/bus/usb/devices/1-9/{name}", text)
    assert 'KERNELS=="1-2"' in of(root, robot_file(tmp_path))[0]


HOSTILE = [
    '", RUN+="/bin/sh -c reboot',
    'ab12"\nRUN+="/bin/sh',
    "ab12|cd34",
    "ab12[!x]",
    "$env{PATH}%k",
    "ab12\\",
    "Ünïcode-1234",
    "a" * 5000,
]


@pytest.mark.parametrize("serial", HOSTILE)
def test_a_serial_number_cannot_end_its_quotes(tmp_path: Path, serial: str) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, f"{DEVICE}/serial", serial)
    change(root, f"{DEVICE}/product", serial)
    assert "RUN" not in "".join(
        part for part in of(root, robot_file(tmp_path)) if "ATTRS{serial}" not in part
    )


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["serial", "product", "idVendor", "idProduct"]))
def test_no_bytes_of_a_device_become_a_rule(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("board")
    root = copied("agx-orin-64", folder)
    Tree(root).path(f"{DEVICE}/{name}").write_bytes(content)
    of(root, robot_file(folder))


def test_a_robot_s_name_is_a_file_name(tmp_path: Path) -> None:
    robot = robot_file(tmp_path, name='a "b", RUN+="c"')
    assert 'SYMLINK+="wall-edge/a-b-RUN-c-bus"' in of(BOARDS / "agx-orin-64", robot)[0]


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="needs udevadm")
def test_udevadm_takes_them(tmp_path: Path) -> None:
    version = subprocess.run(["udevadm", "--version"], capture_output=True, text=True, check=False).stdout
    if not version.strip().isdigit() or int(version) < 254:
        pytest.skip("udevadm verify came with systemd 254")
    file = tmp_path / "99-wall-edge.rules"
    lines = rules(Tree(BOARDS / "agx-orin-64-faults"), load_robot(robot_file(tmp_path)))
    file.write_text("\n".join(lines) + "\n")
    done = subprocess.run(["udevadm", "verify", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_adapter_s_can_loads_no_module_of_the_board() -> None:
    """can0 of a USB adapter would become can1 at the next start."""
    script = "\n".join(can_network("can0", 1_000_000, None))
    part = script[script.index("if readlink") : script.index("fi\n") + 3]
    for driver, loads in (("gs_usb", ""), ("mttcan", "asked\n"), (None, "asked\n")):
        readlink = f"readlink() {{ {'true' if driver is None else f'echo ../{driver}'}; }}"
        # a modprobe that says that it was asked, and fails so that nothing is written
        shell = f"{readlink}\nmodprobe() {{ echo asked; false; }}\n{part}"
        done = subprocess.run(["sh"], input=shell, capture_output=True, text=True, check=False)
        assert done.stdout == loads, (driver, done)


def test_can_files() -> None:
    lines = can_network("can0", 1_000_000, 5_000_000)
    assert {"Name=can0", "BitRate=1000000", "DataBitRate=5000000", "FDMode=yes"} <= set(lines)
    assert "FDMode=yes" not in can_network("can1", 500_000, None)
    script = "\n".join(lines)
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("interface", "bitrate", "data"),
    [
        ("can0; reboot", 1_000_000, None),
        ("", 1_000_000, None),
        ("a" * 16, 500_000, None),
        ("can0", 9_999, None),
        ("can0", 1_000_001, None),
        ("can0", 1_000_000, 999_999),
        ("can0", 1_000_000, 8_000_001),
    ],
)
def test_can_settings_that_cannot_be_meant(interface: str, bitrate: int, data: int | None) -> None:
    with pytest.raises(ConfigError):
        can_network(interface, bitrate, data)


def test_a_camera_by_path_is_the_same_camera(tmp_path: Path) -> None:
    view = {"kind": "opencv", "width": 640, "height": 480}
    by_path = robot_file(tmp_path, cameras={"front": {"device": BY_PATH.format("4.2"), **view}})
    rule = of(BOARDS / "agx-orin-64", by_path)[1]
    assert (
        rule == of(BOARDS / "agx-orin-64", robot_file(tmp_path, cameras={"front": {"device": 2, **view}}))[1]
    )
