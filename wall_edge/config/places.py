"""The paths in ROBOT.yaml: every relative one is relative to the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wall_edge_bridge.drives import CanSettings, DriveSettings, SerialSettings

_NAMED = ("socketcan", "virtual", "udp_multicast")
"""Interfaces whose channels are names or addresses; those of all others are files."""


def absolute(device: str, folder: Path) -> str:
    """A relative path in ``folder``; an address (``rtsp://…``) or a pipeline (``… ! …``) as it is."""
    if "://" in device or "!" in device or not device:
        return device
    return str((folder / device).absolute())


def is_path(interface: object, channel: object) -> bool:
    """Whether a CAN channel is a file (a serial adapter, a socket) and no name like ``can0``.

    Of a part of a document that does not say the interface (None), by the looks of the channel.
    """
    if interface == "unix" and isinstance(channel, str) and channel.startswith("@"):
        return False  # a name in Linux's abstract namespace
    if interface is None:
        return isinstance(channel, str) and "/" in channel
    return interface not in _NAMED


def with_absolute_place(settings: DriveSettings, folder: Path) -> DriveSettings:
    """A drive whose port, or whose channel where that is a file, does not depend on the working folder."""
    if isinstance(settings, SerialSettings):
        return replace(settings, port=absolute(settings.port, folder))
    if isinstance(settings, CanSettings) and is_path(settings.interface, settings.channel):
        return replace(settings, channel=absolute(settings.channel, folder))
    return settings


def place_key(settings: DriveSettings) -> str:
    """What ROBOT.yaml calls the drive's place."""
    return "channel" if isinstance(settings, CanSettings) else "port"


def device_of(settings: DriveSettings) -> str:
    """What two drives must not share: a file, or a channel of an interface."""
    if isinstance(settings, CanSettings) and not is_path(settings.interface, settings.channel):
        return f"{settings.interface}!{settings.channel}"
    return settings.place


def serial_devices(drives: Mapping[str, DriveSettings]) -> dict[str, str]:
    """Files of serial ports, CAN adapters of that kind among them, by their keys (``drives.arm.port``)."""
    return {
        f"drives.{name}.{place_key(settings)}": settings.place
        for name, settings in drives.items()
        if isinstance(settings, SerialSettings)
        or (isinstance(settings, CanSettings) and settings.interface not in (*_NAMED, "unix"))
    }


def can_channels(drives: Mapping[str, DriveSettings]) -> dict[str, CanSettings]:
    """Drives on the kernel's CAN interfaces, by the key of their channel (``drives.arm.channel``)."""
    return {
        f"drives.{name}.channel": settings
        for name, settings in drives.items()
        if isinstance(settings, CanSettings) and settings.interface == "socketcan"
    }


def same_device(devices: Mapping[str, int | str | None]) -> tuple[str, str] | None:
    """Two names of one device, or None: ``0``, ``/dev/video0`` and a link to it are one device."""
    names: dict[str, str] = {}
    for name, device in devices.items():
        if device is None:
            continue
        path = f"/dev/video{device}" if isinstance(device, int) else device
        real = path if "://" in path or "!" in path or "\0" in path else os.path.realpath(path)
        if real in names:
            return names[real], name
        names[real] = name
    return None
