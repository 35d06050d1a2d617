"""A robot's drives for a command that is not the daemon: real ones, or simulated motors in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wall_edge_bridge.drives.group import DriveGroup

from wall_edge.config import RobotConfig
from wall_edge.runtime.servo.drives import open_drives

if TYPE_CHECKING:
    from wall_edge.sim.twins import RobotTwins


@dataclass(frozen=True)
class Motors:
    """The robot's drives, not connected yet."""

    drives: DriveGroup
    twins: RobotTwins | None
    """Of a simulated robot that is moved by hand."""


@contextmanager
def motor_places(
    config: RobotConfig, *, by_hand: bool = False
) -> Iterator[tuple[dict[str, str], RobotTwins | None]]:
    """Where simulated motors answer for as long as the context lasts; nothing for real ones.

    They are a process of their own, or, ``by_hand``, a thread of this one, which then may put them anywhere.
    """
    if not config.simulated:
        yield {}, None
        return
    from wall_edge_bridge.sim import serving

    from wall_edge.sim.motors import motors
    from wall_edge.sim.twins import RobotTwins

    twins = RobotTwins(config, config.control.rest)
    if not by_hand:
        with motors(twins) as running:
            yield running.places, None
        return
    with serving(*twins.by_drive.values(), names=tuple(twins.by_drive)) as stations:
        yield {name: each.place for name, each in zip(twins.by_drive, stations, strict=True)}, twins


@contextmanager
def open_motors(config: RobotConfig, *, by_hand: bool = False) -> Iterator[Motors]:
    """The drives of ROBOT.yaml; the bus is let go at the end, torque as it is. Raises BusError."""
    with motor_places(config, by_hand=by_hand) as (places, twins):
        drives = open_drives(config, places)
        try:
            yield Motors(drives, twins)
        finally:
            drives.close()
