"""CAN: controllers that JetPack leaves alone, and what keeps them from coming up at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recorded import beside_kernel, change, copied, machine, robot_file

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
