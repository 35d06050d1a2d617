"""The drives that ROBOT.yaml names, opened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wall_edge_bridge.drives import Drive, DriveSettings, Feedback, Joint, Setpoints
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.transport.opening import open_wire
from wall_edge_bridge.transport.recovering import tell_reopenings

from wall_edge.config import RobotConfig
from wall_edge.errors import BusError

_SIMULATED_MS = 20.0
"""A pseudo-terminal's bytes wait for a kernel thread, which waits for a processor."""


def open_drives(
    config: RobotConfig, places: Mapping[str, str], clock: Callable[[], int] = time.monotonic_ns
) -> DriveGroup:
    """All drives of a robot. ``places``: where simulated motors are, by drive; empty for real ones.

    A bus that does not open keeps nobody from the others, as torque must go off on those: its drive says so
    whenever it is asked for something, and ``connect`` is the first to. Raises ConfigError, DriveError.
    """
    placed = {name: _placed(settings, places.get(name)) for name, settings in config.drives.items()}
    drives: dict[str, Drive] = {}
    try:
        for name, settings in placed.items():
            paced = settings.paced(1 / config.control.rate_hz)
            drives[name] = _open(paced, config.joints_of(name), config.control.start_slack_rad, clock)
    except BaseException:
        for drive in drives.values():
            with contextlib.suppress(Exception):
                drive.close()
        raise
    timeouts_ms = {name: settings.timeout_ms for name, settings in placed.items()}
    return DriveGroup(config.joints, drives, timeouts_ms, clock, line_times_ns(config))


def drives_opener(config: RobotConfig, places: Mapping[str, str]) -> Callable[[], DriveGroup]:
    """What opens the drives, and opens them again, as long as they are where they are now."""
    require = same_terminals(places)

    def open_again() -> DriveGroup:
        require()
        return open_drives(config, places)

    return open_again


def same_terminals(places: Mapping[str, str]) -> Callable[[], None]:
    """Raises BusError, when it is called, if a pseudo-terminal among ``places`` is not that of now any more.

    Its number is the next one's as soon as its motors have ended: another robot's, or somebody's shell.
    """
    ctimes_ns = {place: _ctime_ns(place) for place in places.values() if place.startswith("/dev/pts/")}

    def require() -> None:
        for place, ctime_ns in ctimes_ns.items():
            if ctime_ns is None or _ctime_ns(place) != ctime_ns:
                raise BusError(f"simulated bus at {place} is gone", fix="start the simulation again")

    return require


def _ctime_ns(place: str) -> int | None:
    """When a device got its name; None when there is none."""
    try:
        return Path(place).stat().st_ctime_ns
    except OSError:
        return None


def _placed(settings: DriveSettings, place: str | None) -> DriveSettings:
    """As they are, or for simulated motors at ``place``, with time for them to answer."""
    if place is None:
        return settings
    return replace(settings.at(place), timeout_ms=max(settings.timeout_ms, _SIMULATED_MS))


def line_times_ns(config: RobotConfig) -> dict[str, int]:
    """By drive, how long a cycle occupies its line [ns]."""
    drives = config.drives.items()
    return {name: kind_named(each.kind).cycle_ns(each, config.joints_of(name)) for name, each in drives}


def _open(
    settings: DriveSettings, joints: Sequence[Joint], start_slack_rad: float, clock: Callable[[], int]
) -> Drive:
    kind = kind_named(settings.kind)
    try:
        wire = open_wire(settings, clock)
    except (BusError, OSError) as error:
        return _Absent(joints, error)
    try:
        drive = kind.open_drive(settings, joints, wire, clock=clock, start_slack_rad=start_slack_rad)
    except BaseException:
        wire.close()
        raise
    tell_reopenings(wire, lambda: _count_reopening(drive))
    return drive


def _count_reopening(drive: Drive) -> None:
    drive.counters.reopened += 1


class _Absent(Drive):
    """Motors behind a bus that did not open."""

    def __init__(self, joints: Sequence[Joint], error: Exception) -> None:
        super().__init__(joints)
        self._error = error

    def connect(self) -> None:
        raise self._error

    def arm_watchdog(self, timeout_s: float) -> float | None:  # noqa: ARG002
        raise self._error

    def enable(self) -> None:
        raise self._error

    def disable(self) -> None:
        raise self._error

    def torque(self) -> tuple[bool | None, ...]:
        raise self._error

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:  # noqa: ARG002
        raise self._error

    def finish_cycle(self, deadline_ns: int) -> Feedback:  # noqa: ARG002
        raise self._error

    def close(self) -> None:
        """Nothing to release."""
