"""CAN: controllers that JetPack leaves alone, and what keeps them from coming up at the start."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner
from wall_edge_bridge.drives.joints import OffsetJoint
from wall_edge_bridge.drives.settings import CanSettings
from wall_edge_bridge.drives.values import Capabilities
from wall_edge_bridge.kinds import Kind, registry

from tests.recorded import beside_kernel, change, copied, machine, robot_file
from wall_edge.board import Tree
from wall_edge.cli import app
from wall_edge.config import load_robot
from wall_edge.doctor.rules import rules

CAN = "/sys/class/net/can0"
DENIED = "/etc/modprobe.d/denylist-mttcan.conf"
NETWORK = "/etc/systemd/network/80-wall-edge-can0.network"


def unloaded(folder: Path) -> Path:
    root = copied("agx-orin-64", folder)
    change(root, "/sys/module/mttcan/refcnt", None)
    (root / "sys/module/mttcan").rmdir()
    (root / "sys/class/net/can0").unlink()
    return root


def test_mttcan_not_loaded_is_no_fault_of_a_serial_robot(tmp_path: Path) -> None:
    root = unloaded(tmp_path)
    assert beside_kernel(machine(root, robot_file(tmp_path))) == []
    (one,) = beside_kernel(machine(root))
    assert (one.severity, one.check) == ("note", "can-driver")
    assert "mttcan@c310000" in one.what
    assert one.fix.startswith(
        "sudo modprobe -a can can_raw mttcan && echo mttcan | sudo tee /etc/modules-load.d/"
    )
    assert "blacklist" not in one.fix


def test_the_list_of_denied_modules_is_part_of_the_fix(tmp_path: Path) -> None:
    root = unloaded(tmp_path)
    change(root, DENIED, "# NVIDIA\nblacklist mttcan\n")
    (one,) = beside_kernel(machine(root))
    assert one.fix.endswith(f"sudo sed -i 's/^ *blacklist  *mttcan/# &/' {DENIED}")


def test_a_can_that_will_not_come_back_after_the_next_start(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, DENIED, "blacklist mttcan")
    (one,) = beside_kernel(machine(root))
    assert (one.severity, one.check) == ("note", "can-interface")
    assert DENIED in one.what
    change(root, DENIED, "# blacklist mttcan")
    assert beside_kernel(machine(root)) == []


def test_an_interface_that_nobody_set_up_is_no_fault_of_a_serial_robot(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, NETWORK, None)
    change(root, f"{CAN}/flags", "0x40080")
    change(root, f"{CAN}/tx_queue_len", "10")
    assert beside_kernel(machine(root, robot_file(tmp_path))) == []
    (one,) = beside_kernel(machine(root))
    assert (one.severity, one.fix) == ("note", "wall-edge udev --can --interface can0 | sudo sh")


@pytest.mark.parametrize(
    "text", ["[Match]\nName = can*\n[CAN]\nBitRate = 1M\n", "[Match]\r\nName=can0\r\n[CAN]\r\nBitRate=1M\r\n"]
)
def test_networkd_s_files_as_people_write_them(tmp_path: Path, text: str) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, NETWORK, text)
    assert beside_kernel(machine(root)) == []


CAN_KEYS = {"kind": "other", "channel": "can0", "bitrate": 500_000, "data_bitrate": 2_000_000}


@pytest.fixture
def on_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A robot of a kind on CAN that wall_edge has never heard of."""
    kind = Kind("other", CanSettings, OffsetJoint, Capabilities(), range(1, 128), "other_kind")
    monkeypatch.setitem(registry.KINDS, "other", "other_kind")
    monkeypatch.setitem(sys.modules, "other_kind", SimpleNamespace(KIND=kind))
    timing = SimpleNamespace(cycle_ns=lambda _, joints: 270_000 * len(joints))
    monkeypatch.setitem(sys.modules, "other_kind.timing", timing)
    joints = [{"name": "pan", "id": 1, "lower": -1, "upper": 1, "max_velocity": 2}]
    path = robot_file(tmp_path, joints=joints, control={"rest": [0]})
    data = yaml.safe_load(path.read_text())
    data["drives"] = {"arm": CAN_KEYS}
    path.write_text(yaml.safe_dump(data))
    return path


class TestARobotOnCan:
    def test_one_that_is_there_needs_nothing(self, tmp_path: Path, on_can: Path) -> None:
        assert beside_kernel(machine(copied("agx-orin-64", tmp_path), on_can)) == []

    def test_its_channel_is_not_there(self, tmp_path: Path, on_can: Path) -> None:
        """The board's own controllers are then of interest, too."""
        missing, driver = beside_kernel(machine(unloaded(tmp_path), on_can))
        assert (missing.severity, missing.check) == ("error", "can-interface")
        assert missing.what.startswith("drives.arm.channel can0 is not there; ")
        assert (driver.severity, driver.check) == ("note", "can-driver")

    def test_one_that_nobody_set_up_is_an_error_with_its_own_bit_rates(
        self, tmp_path: Path, on_can: Path
    ) -> None:
        root = copied("agx-orin-64", tmp_path)
        change(root, NETWORK, None)
        change(root, f"{CAN}/flags", "0x40080")
        down, start = beside_kernel(machine(root, on_can))
        assert (down.severity, down.what) == ("error", "can0 is down")
        assert "sudo ip link set can0 up type can bitrate 500000 dbitrate 2000000 fd on" in down.fix
        rates = "--bitrate 500000 --data-bitrate 2000000"
        assert start.fix == f"wall-edge udev --can --interface can0 {rates} | sudo sh"

    def test_udev_rules_say_where_its_channel_is_set_up(self, tmp_path: Path, on_can: Path) -> None:
        lines = rules(Tree(copied("agx-orin-64", tmp_path)), load_robot(on_can))
        assert any(line.startswith("# drives.arm.channel can0: ") for line in lines)
        assert not any('SUBSYSTEM=="tty"' in line for line in lines)

    def test_what_brings_it_up(self, on_can: Path) -> None:
        result = CliRunner().invoke(app, ["udev", "--can", str(on_can)])
        assert result.exit_code == 0
        assert {"BitRate=500000", "DataBitRate=2000000"} <= set(result.stdout.splitlines())


def test_a_serial_robot_has_no_interface_to_bring_up(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["udev", "--can", str(robot_file(tmp_path))])
    assert "so101 has no drive on a CAN interface" in str(result.exception)
