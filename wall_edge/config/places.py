"""The paths in ROBOT.yaml: every relative one is relative to the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def absolute(device: str, folder: Path) -> str:
    """A relative path in ``folder``; an address (``rtsp://…``) or a pipeline (``… ! …``) as it is."""
    if "://" in device or "!" in device or not device:
        return device
    return str((folder / device).absolute())


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
