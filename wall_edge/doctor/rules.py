"""udev rules for a robot's serial ports and cameras: names that stay, latency, group.

Syntax: ``man 7 udev``. A value that came from a device is matched by shell patterns: of its characters only
letters, digits and ``_-.:+`` are written, ``*`` stands for any others, so nothing that a maker burned in can
end the quotes, add a key or name another file. ModemManager's keys: its documentation, "Port and device
filtering".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wall_edge.board import Tree
from wall_edge.board.usb import UsbDevice, serial_ports, usb_device_of, usb_devices
from wall_edge.config import RobotConfig, can_channels, serial_devices
from wall_edge.files import shown

FILE = "/etc/udev/rules.d/99-wall-edge.rules"
FOLDER = "wall-edge"
"""Below /dev: where the links are made."""
_KERNEL_NAME = re.compile(r"/dev/(tty|video)[A-Za-z]*\d+|/dev/(serial|v4l)/.*")


@dataclass(frozen=True)
class Node:
    """A serial port or a camera to be named."""

    title: str
    """Its key in ROBOT.yaml."""
    device: str
    """Its file now, or as ROBOT.yaml names it."""
    subsystem: str
    """tty or video4linux."""
    link: str
    """Below /dev."""


def rules(tree: Tree, robot: RobotConfig | None) -> list[str]:
    """The lines of the rules file. Without a robot: of every USB serial port that is plugged in."""
    nodes = _nodes(tree) if robot is None else _nodes_of(robot)
    for_whom = "every USB serial port here" if robot is None else shown(robot.name)
    lines = [
        f"# Names and settings for {for_whom}: written by 'wall-edge udev'.",
        f"# To install: wall-edge udev … | sudo tee {FILE}",
        "#             sudo udevadm control --reload && sudo udevadm trigger",
    ]
    if robot is not None:
        for key, settings in can_channels(robot.drives).items():
            lines.append(
                f"# {key} {shown(settings.channel)}: see 'wall-edge udev --can' or 'wall-edge can setup'"
            )
    elif not nodes:
        lines.append("# No USB serial port is plugged in: no rule. Plug it in, run this again.")
    for node in nodes:
        lines += ["", f"# {node.title}: /dev/{node.link}", *_rules_of(tree, node)]
    return lines


def _nodes(tree: Tree) -> list[Node]:
    return [
        Node(f"port {name}", f"/dev/{name}", "tty", f"{FOLDER}/serial{number}")
        for number, name in enumerate(serial_ports(tree))
    ]


def _nodes_of(robot: RobotConfig) -> list[Node]:
    """The ports and the cameras; streams, pipelines and video files have no rule."""
    name, ports = _plain(robot.name), serial_devices(robot.drives)
    nodes = []
    for key, port in ports.items():
        which = "bus" if len(ports) == 1 else _plain(key.split(".")[1])
        nodes.append(Node(key, port, "tty", _link(port, f"{name}-{which}")))
    for view, camera in robot.cameras.items():
        device = f"/dev/video{camera.device}" if isinstance(camera.device, int) else camera.device or ""
        if device.startswith("/dev/"):
            link = _link(device, f"{name}-{_plain(view)}")
            nodes.append(Node(f"cameras.{view}", device, "video4linux", link))
    return nodes


def _link(device: str, name: str) -> str:
    """A link that ROBOT.yaml names already keeps its name."""
    keeps = _KERNEL_NAME.fullmatch(device) is None and re.fullmatch(r"/dev/[\w./+-]+", device, re.ASCII)
    return device.removeprefix("/dev/") if keeps and ".." not in device else f"{FOLDER}/{name}"


def _rules_of(tree: Tree, node: Node) -> Iterator[str]:
    kernel = tree.real(node.device).rpartition("/")[2]
    folder = f"/sys/class/{node.subsystem}/{kernel}"
    usb = usb_device_of(tree, folder)
    if usb is None:
        yield from _missing(tree, node)
        return
    name = shown(usb.name or "a device without a name", 80)
    yield f"# {name} ({shown(usb.ids, 20)}) at USB port {shown(usb.port, 40)}"
    match = [f'SUBSYSTEM=="{node.subsystem}"', *_matches(tree, node, usb)]
    if node.subsystem == "tty":
        group, more = "dialout", ['ENV{ID_MM_DEVICE_IGNORE}="1"', 'ENV{ID_MM_PORT_IGNORE}="1"']
    else:
        group, more = "video", []
        match.append(f'ATTR{{index}}=="{tree.number(f"{folder}/index") or 0}"')
    settings = [f'SYMLINK+="{node.link}"', f'GROUP="{group}"', 'MODE="0660"', *more]
    yield ", ".join((*match, *settings))
    if tree.exists(f"/sys/bus/usb-serial/devices/{kernel}/latency_timer"):
        latency = ['ACTION=="add|change"', 'SUBSYSTEM=="usb-serial"', *_matches(tree, node, usb)]
        yield ", ".join((*latency, 'ATTR{latency_timer}="1"'))


def _matches(tree: Tree, node: Node, usb: UsbDevice) -> list[str]:
    """A port by its serial number, if no other has the same; else, and cameras always, by where it is.

    Cheap cameras and adapters all have one serial number.
    """
    twins = [other for other in usb_devices(tree) if (other.ids, other.serial) == (usb.ids, usb.serial)]
    if (
        node.subsystem == "tty"
        and usb.serial
        and len(twins) == 1
        and re.search(r"\w{4}", usb.serial, re.ASCII)
    ):
        return [
            f'ATTRS{{idVendor}}=="{_pattern(usb.vendor)}"',
            f'ATTRS{{idProduct}}=="{_pattern(usb.product)}"',
            f'ATTRS{{serial}}=="{_pattern(usb.serial)}"',
        ]
    return [f'KERNELS=="{_pattern(usb.port)}"']


def _missing(tree: Tree, node: Node) -> Iterator[str]:
    yield f"# {shown(node.device)} is no USB device that is plugged in: no rule. Plug it in, run this again."
    if node.subsystem == "tty":
        for name in serial_ports(tree):
            usb = usb_device_of(tree, f"/sys/class/tty/{name}")
            if usb is not None:
                yield f"# plugged in: /dev/{name}, {shown(usb.name or '', 80)} {shown(usb.serial or '', 80)}"


def _pattern(text: str) -> str:
    """A shell pattern for a value from a device."""
    return re.sub(r"[^A-Za-z0-9_.:+-]+", "*", text[:120])


def _plain(name: str) -> str:
    """A part of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "robot"
