"""Cameras: there, a node that gives pictures, and room for them on the USB bus.

UVC cameras have a second node for metadata, with ``index`` 1 (the kernel's V4L2 API, "Metadata Interface").
High-speed USB gives isochronous transfers at most 80 % of its 480 Mbit/s (USB 2.0, 5.6.4).
"""

from __future__ import annotations

from collections.abc import Iterator

from wall_edge.board.usb import usb_device_of
from wall_edge.config import CameraConfig
from wall_edge.doctor.finding import Remark
from wall_edge.doctor.machine import Machine
from wall_edge.files import shown

_VIDEO = "/sys/class/video4linux"
_MEGABITS = 480
_ISOCHRONOUS = 0.8
_BYTES_A_PIXEL = 2
"""Of YUYV, which cameras give unless they are asked for MJPG."""


def devices(machine: Machine) -> Iterator[Remark]:
    """The cameras that ROBOT.yaml names."""
    assert machine.real_robot is not None
    tree, cameras = machine.tree, machine.real_robot.cameras
    for name, camera in cameras.items():
        device = _device(camera)
        if device is None:
            continue
        if not tree.exists(device):
            nodes = ", ".join(f"/dev/{node}" for node in tree.names(_VIDEO)) or "none"
            what = f"cameras.{name}.device {shown(device)} is not there; video devices: {nodes}"
            yield Remark("error", what, "plug it in, or name another device in ROBOT.yaml")
            continue
        node = tree.real(device).rpartition("/")[2]
        if (tree.number(f"{_VIDEO}/{node}/index") or 0) > 0 and usb_device_of(tree, f"{_VIDEO}/{node}"):
            what = f"cameras.{name}.device {shown(device)} is not its first node: often no pictures"
            yield Remark("warning", what, "name its node with index 0: v4l2-ctl --list-devices")
        elif device == f"/dev/{node}" and len(cameras) > 1:
            what = f"cameras.{name}.device {device}: the number changes with the order of plugging in"
            fix = "name its link under /dev/v4l/by-path, or those of wall-edge udev ROBOT.yaml"
            yield Remark("warning", what, fix)


def bandwidth(machine: Machine) -> Iterator[Remark]:
    """Uncompressed pictures of several cameras behind one high-speed bus."""
    assert machine.real_robot is not None
    tree = machine.tree
    load: dict[str, dict[str, float]] = {}
    for name, camera in machine.real_robot.cameras.items():
        node = tree.real(_device(camera) or "").rpartition("/")[2]
        usb = usb_device_of(tree, f"{_VIDEO}/{node}") if node else None
        if usb is not None and usb.megabits is not None and usb.megabits <= _MEGABITS:
            bits = 8e-6 * _BYTES_A_PIXEL * camera.width * camera.height * camera.rate_hz
            load.setdefault(usb.port.partition("-")[0], {})[name] = bits
    for bus, cameras in load.items():
        total = sum(cameras.values())
        if len(cameras) > 1 and total > _ISOCHRONOUS * _MEGABITS:
            what = (
                f"cameras {', '.join(cameras)} on USB bus {bus} send {total:.0f} Mbit/s uncompressed; "
                f"the bus carries {_ISOCHRONOUS * _MEGABITS:.0f}"
            )
            yield Remark(
                "note", what, "let them send MJPG, lower width, height or rate_hz, or take another bus"
            )


def _device(camera: CameraConfig) -> str | None:
    """Its file; None for streams, pipelines and simulated cameras."""
    if isinstance(camera.device, int):
        return f"/dev/video{camera.device}"
    device = camera.device
    return None if device is None or "://" in device or "!" in device else device
