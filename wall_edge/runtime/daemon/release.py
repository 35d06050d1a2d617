"""Torque off by whoever is left, and what torque was found: outside of the servo loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

import numpy as np
from wall_edge_bridge.drives.group import DriveGroup

from wall_edge.config import RobotConfig
from wall_edge.errors import BusError, WallEdgeError
from wall_edge.runtime.servo.drives import drives_opener, open_drives

RELEASE_S = 5.0
"""How long torque-off is tried: a USB adapter that lost its port gets it back within seconds."""
_RETRY_S = 0.1
_READ_NS, _READS = 200_000_000, 10


def release_arm(config: RobotConfig, places: Mapping[str, str], patience_s: float = RELEASE_S) -> str:
    """Torque off, for when the servo process could not; tried again until ``patience_s`` have passed.

    Every port is opened anew at every try, and one that does not open keeps nobody from the others;
    ``places`` of simulated motors, by the drive's name. What the last try met, in one line, or an empty
    string when every joint confirmed: never an exception, as nothing may keep its caller from what follows.
    """
    deadline, open_arm = time.monotonic() + patience_s, drives_opener(config, places)
    while trouble := _attempt(lambda: _disable(open_arm)):
        if time.monotonic() >= deadline:
            break
        time.sleep(_RETRY_S)
    return trouble


def _disable(open_arm: Callable[[], DriveGroup]) -> None:
    drive = open_arm()
    try:
        drive.disable()
    finally:
        drive.close()


def _attempt(action: Callable[[], None]) -> str:
    try:
        action()
    except (WallEdgeError, OSError) as error:
        return str(error) or repr(error)
    except Exception as bug:  # noqa: BLE001 - see release_arm
        return f"bug: {bug!r}"
    return ""


def read_places(config: RobotConfig) -> dict[str, tuple[float, int | None]]:
    """By name, where a joint of a real robot stands [rad] (NaN for one that does not answer), and what its
    encoder reads."""
    drive = open_drives(config, {})
    position = np.full(drive.dof, np.nan)
    try:
        for each in drive.drives.values():  # what some motors' numbers span is read from them
            with contextlib.suppress(WallEdgeError, OSError):
                each.connect()
        for _ in range(_READS):
            with contextlib.suppress(BusError):
                position = drive.cycle(None, time.monotonic_ns() + _READ_NS).position
            if not np.isnan(position).any():
                break
    finally:
        drive.close()
    places = zip(position.tolist(), drive.ticks(position), strict=True)
    return dict(zip((joint.name for joint in drive.joints), places, strict=True))


def read_torque(config: RobotConfig) -> dict[str, bool | None]:
    """Whether each joint of a real robot is powered, by name; None for one that does not answer."""
    group = open_drives(config, {})
    torque: dict[str, bool | None] = dict.fromkeys((joint.name for joint in group.joints), None)
    try:
        for drive in group.drives.values():
            with contextlib.suppress(BusError, OSError):
                torque.update(zip((joint.name for joint in drive.joints), drive.torque(), strict=True))
    finally:
        group.close()
    return torque
