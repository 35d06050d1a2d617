"""CAN interfaces, and what brings them up: sysfs, device tree and systemd-networkd's files.

The bitrate in force is in no file (netlink alone tells it): what is read here is what a file asks for.
Sources: ``Documentation/ABI/testing/sysfs-class-net`` and ``Documentation/networking/can.rst`` of the kernel,
``man systemd.network``; NVIDIA's Developer Guide, "Controller Area Network (CAN)".
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from wall_edge.board.facts import Tree

AGX_PINS = {
    "can0": (("0x0c303018", "0xc458"), ("0x0c303010", "0xc400")),
    "can1": (("0x0c303008", "0xc458"), ("0x0c303000", "0xc400")),
}
"""Registers of the AGX Orin's header: pins 29 and 31 for can0, 37 and 33 for can1, GPIO at the start."""
_AGX = "p3701"
_NET = "/sys/class/net"
_ARPHRD_CAN = 280
_IFF_UP = 1
_DENIED = "/etc/modprobe.d"
_NETWORKS = ("/etc/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network")


@dataclass(frozen=True)
class CanInterface:
    """One interface as the kernel counts it."""

    name: str
    driver: str | None
    up: bool
    carrier: bool | None
    """False where the controller is off the bus; None where it is down."""
    received: int | None
    """Frames since it exists."""
    errors: int | None
    """Receiving and sending."""
    queue: int | None
    """Frames that may wait for the bus."""


def can_interfaces(tree: Tree) -> tuple[CanInterface, ...]:
    """All, by name; virtual ones too."""
    return tuple(
        _interface(tree, name)
        for name in tree.names(_NET)
        if tree.number(f"{_NET}/{name}/type") == _ARPHRD_CAN
    )


def pin_commands(part_number: str | None, interface: CanInterface) -> list[str]:
    """What makes CAN pins of an AGX Orin's header; nothing for other boards and for adapters."""
    if interface.driver != "mttcan" or not (part_number or "").startswith(_AGX):
        return []
    registers = AGX_PINS.get(interface.name, ())
    return [f"sudo busybox devmem {place} w {value}" for place, value in registers]


def _interface(tree: Tree, name: str) -> CanInterface:
    folder = f"{_NET}/{name}"
    try:
        up = bool(int(tree.text(f"{folder}/flags") or "0", 16) & _IFF_UP)
    except ValueError:
        up = False
    carrier = tree.number(f"{folder}/carrier")
    errors = [tree.number(f"{folder}/statistics/{way}_errors") for way in ("rx", "tx")]
    return CanInterface(
        name=name,
        driver=(tree.link(f"{folder}/device/driver") or "").rpartition("/")[2] or None,
        up=up,
        carrier=None if carrier is None else carrier == 1,
        received=tree.number(f"{folder}/statistics/rx_packets"),
        errors=None if None in errors else sum(count for count in errors if count is not None),
        queue=tree.number(f"{folder}/tx_queue_len"),
    )


def configured(tree: Tree, name: str) -> str | None:
    """The systemd-networkd file that brings the interface up with a bitrate, if there is one."""
    for folder in _NETWORKS:
        for file in tree.names(folder):
            if file.endswith(".network") and _brings_up(tree.text(f"{folder}/{file}") or "", name):
                return f"{folder}/{file}"
    return None


def _brings_up(text: str, name: str) -> bool:
    match = re.search(r"^Name *=(.*)$", text, re.MULTILINE)
    patterns = match[1].split() if match else []
    rate = re.search(r"^BitRate *= *\S", text, re.MULTILINE)
    return rate is not None and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def denied(tree: Tree) -> str | None:
    """The file that keeps the start from loading mttcan, if there is one; ``modprobe mttcan`` heeds it not.

    Several releases of Linux for Tegra come with /etc/modprobe.d/denylist-mttcan.conf; systemd heeds it for
    modules-load.d too.
    """
    for file in tree.names(_DENIED):
        if re.search(r"^\s*blacklist\s+mttcan\s*$", tree.text(f"{_DENIED}/{file}") or "", re.MULTILINE):
            return f"{_DENIED}/{file}"
    return None


def controllers(tree: Tree) -> tuple[str, ...]:
    """The Jetson's own controllers that the device tree switches on: ``mttcan@c310000`` …"""
    result = []
    for bus in ("/proc/device-tree/bus@0", "/proc/device-tree"):
        for node in tree.names(bus):
            if node.startswith("mttcan@") and tree.text(f"{bus}/{node}/status") in ("okay", "ok"):
                result.append(node)
    return tuple(result)
