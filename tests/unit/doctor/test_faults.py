"""A healthy AGX Orin with one fault each: that finding, its severity, words and fix, and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recorded import beside_kernel, change, copied, link, machine, robot_file
from wall_edge.board.packages import STATUS

CAN = "/sys/class/net/can0"
DEVFREQ = "/sys/class/devfreq/17000000.gpu"
Seed = Callable[[Path], None]


def written(name: str, content: str | None) -> Seed:
    return lambda root: change(root, name, content)


def linked(name: str, target: str) -> Seed:
    return lambda root: link(root, name, target)


def replaced(name: str, before: str, after: str) -> Seed:
    def seed(root: Path) -> None:
        path = root / name.lstrip("/")
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    return seed


def several(*seeds: Seed) -> Seed:
    def seed(root: Path) -> None:
        for one in seeds:
            one(root)

    return seed


def package(name: str, version: str) -> Seed:
    def seed(root: Path) -> None:
        path = root / STATUS.lstrip("/")
        stanza = f"\nPackage: {name}\nStatus: install ok installed\nVersion: {version}\n"
        path.write_text(path.read_text() + stanza)

    return seed


def usb(port: str, ids: str) -> Seed:
    vendor, product = ids.split(":")
    folder = f"/sys/bus/usb/devices/{port}"
    return several(written(f"{folder}/idVendor", vendor), written(f"{folder}/idProduct", product))


RELEASE = "/etc/nv_tegra_release"
MODES = "/etc/nvpmodel/nvpmodel_p3701_0005.conf"
FAULTS: dict[str, tuple[Seed, str, str, str, str]] = {
    "JetPack 5": (replaced(RELEASE, "R36", "R35"), "error", "jetpack", "L4T 35.4.3", "flash JetPack 6.2"),
    "JetPack 6.0": (
        several(
            replaced(RELEASE, "4.3", "3.0"),
            replaced(STATUS, "6.2+b77", "6.0+b106"),
            replaced(STATUS, "12-6", "12-2"),
            written("/usr/local/cuda/version.json", None),
            replaced(STATUS, "10.3.0.30", "10.2.0"),
        ),
        "error",
        "jetpack",
        "L4T 36.3.0 (JetPack 6.0) is too old",
        "flash",
    ),
    "a release that is new": (
        replaced(RELEASE, "R36", "R45"),
        "note",
        "jetpack",
        "45.4.3 is not in",
        "verify",
    ),
    "half an upgrade": (replaced(STATUS, "6.2+b77", "6.1+b123"), "warning", "jetpack", "JetPack 6.1", "apt"),
    "Xavier": (
        replaced("/proc/device-tree/compatible", "tegra234", "tegra194"),
        "error",
        "jetpack",
        "SM72",
        "take an Orin",
    ),
    "no TensorRT": (
        several(
            replaced(STATUS, "libnvinfer10", "other"), replaced(STATUS, "Package: tensorrt", "Package: no")
        ),
        "note",
        "tensorrt",
        "not installed",
        "sudo apt install tensorrt",
    ),
    "another CUDA": (
        written("/usr/local/cuda/version.json", '{"cuda": {"version": "13.0.1"}}'),
        "warning",
        "tensorrt",
        "CUDA 13.0.1, but JetPack 6.2 comes with 12.6",
        "/usr/local/cuda",
    ),
    "a slow mode": (
        written("/var/lib/nvpmodel/status", "pmode:0003 fmode:quiet"),
        "warning",
        "power-mode",
        "MODE_50W; the fastest of this board is MAXN",
        "sudo nvpmodel -m 0",
    ),
    "no mode": (written(MODES, ""), "note", "power-mode", "cannot be read", "nvpmodel -q"),
    "free GPU clock": (
        written(f"{DEVFREQ}/min_freq", "306000000"),
        "warning",
        "clocks",
        "306 to 1300",
        "jetson_clocks",
    ),
    "no GPU clock": (
        several(
            *(written(f"{DEVFREQ}/{name}", None) for name in ("min_freq", "max_freq", "cur_freq")),
            written(f"{DEVFREQ}/available_frequencies", None),
        ),
        "note",
        "clocks",
        "cannot be read",
        "--show",
    ),
    "heat": (
        written("/sys/class/thermal/cooling_device1/cur_state", "2"),
        "warning",
        "throttling",
        "gpu",
        "fan",
    ),
    "a weak supply": (
        written("/sys/class/hwmon/hwmon3/oc1_event_cnt", "3"),
        "warning",
        "power-supply",
        "under-voltage, counted 3 x",
        "supply",
    ),
    "no right to real time": (
        written("/etc/security/limits.d/wall-edge.conf", "robot - memlock unlimited"),
        "warning",
        "limits",
        "rtprio 80",
        "echo 'robot - rtprio 95' | sudo tee -a",
    ),
    "less memory to lock": (
        written("/etc/security/limits.d/wall-edge.conf", "robot - rtprio 95\n* - memlock 65536"),
        "warning",
        "limits",
        "memlock unlimited (it is 65536)",
        "memlock unlimited",
    ),
    "not in dialout": (
        replaced("/etc/group", "dialout:x:20:robot", "dialout:x:20:"),
        "error",
        "groups",
        "not in group dialout",
        "sudo usermod -aG dialout robot",
    ),
    "not in render": (
        replaced("/etc/group", "render:x:104:robot", "render:x:104:other"),
        "warning",
        "groups",
        "group render",
        "usermod",
    ),
    "port unplugged": (written("/dev/ttyACM0", None), "error", "serial-port", "is not there", "plug it in"),
    "ModemManager": (
        linked(
            "/etc/systemd/system/multi-user.target.wants/ModemManager.service",
            "/lib/systemd/system/M.service",
        ),
        "warning",
        "modem-manager",
        "writes",
        "disable --now ModemManager",
    ),
    "FTDI's latency": (
        written("/sys/bus/usb-serial/devices/ttyACM0/latency_timer", "16"),
        "warning",
        "latency-timer",
        "16 ms",
        "echo 1 | sudo tee",
    ),
    "gs_usb": (usb("1-3", "1d50:606f"), "warning", "usb-driver", "no gs_usb", "PyPI package gs_usb"),
    "another CAN adapter": (usb("1-3", "1209:2323"), "warning", "usb-driver", "no gs_usb", "CAN"),
    "brltty": (
        several(usb("1-3", "1a86:7523"), package("brltty", "6.4"), written("/sys/module/ch341/refcnt", "0")),
        "warning",
        "brltty",
        "1a86:7523",
        "apt remove brltty",
    ),
    "camera unplugged": (
        written("/dev/video2", None),
        "error",
        "cameras",
        "/dev/video0, /dev/video1",
        "plug",
    ),
    "CAN down": (
        written(f"{CAN}/flags", "0x40080"),
        "warning",
        "can-interface",
        "can0 is down",
        "ip link set can0 up type can bitrate",
    ),
    "bus off": (written(f"{CAN}/carrier", "0"), "warning", "can-interface", "off the bus", "120 ohm"),
    "nobody acknowledges": (
        several(written(f"{CAN}/statistics/rx_packets", "0"), written(f"{CAN}/statistics/tx_errors", "99")),
        "warning",
        "can-interface",
        "heard nothing",
        "sudo busybox devmem 0x0c303018 w 0xc458 && sudo busybox devmem 0x0c303010 w 0xc400",
    ),
    "CAN by hand": (
        written("/etc/systemd/network/80-wall-edge-can0.network", "[Match]\nName=eth*\n[CAN]\nBitRate=1"),
        "note",
        "can-interface",
        "no file of systemd-networkd brings can0 up",
        "wall-edge udev --can",
    ),
    "a short queue": (
        written(f"{CAN}/tx_queue_len", "10"),
        "note",
        "can-interface",
        "10 frames",
        "txqueuelen",
    ),
    "a container": (written("/.dockerenv", ""), "note", "container", "container", "on the machine"),
    "isolated, and not used": (
        written("/sys/devices/system/cpu/isolated", "2-3"),
        "warning",
        "isolated-cores",
        "control.cpu is not set",
        "control: {cpu: 2}",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_the_one_finding(fault: str, tmp_path: Path) -> None:
    seed, severity, check, what, fix = FAULTS[fault]
    root = copied("agx-orin-64", tmp_path)
    seed(root)
    others = {"jetpack": {"tensorrt"}, "usb-driver": set()}.get(check, set())
    remaining = [one for one in beside_kernel(machine(root, robot_file(tmp_path))) if one.check not in others]
    assert [(one.severity, one.check) for one in remaining] == [(severity, check)], remaining
    assert what in remaining[0].what
    assert fix in remaining[0].fix
