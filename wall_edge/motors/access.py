"""A robot's drives for a command that is not the daemon: real ones, or simulated motors in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.sim import Twin

from wall_edge.config import RobotConfig
from wall_edge.runtime.servo.drives import open_drives


@dataclass(frozen=True)
class Motors:
    """The robot's drives, not connected yet."""

    drives: DriveGroup
    twins: dict[str, Twin] = field(default_factory=dict)
    """By drive name, of a simulated robot: whoever moves them plays the hand."""


@contextmanager
def motor_places(config: RobotConfig) -> Iterator[tuple[dict[str, str], dict[str, Twin]]]:
    """Where simulated motors answer for as long as the context lasts, and the motors; empty for real ones."""
    if not config.simulated:
        yield {}, {}
        return
    from wall_edge.sim.motors import serving_twins  # a real robot never loads the simulated world

    with serving_twins(config, config.control.rest) as (places, twins):
        yield places, twins


@contextmanager
def open_motors(config: RobotConfig) -> Iterator[Motors]:
    """The drives of ROBOT.yaml; the bus is let go at the end, torque as it is. Raises BusError."""
    with motor_places(config) as (places, twins):
        drives = open_drives(config, places)
        try:
            yield Motors(drives, twins)
        finally:
            drives.close()
