"""Who answers on a bus, beside who ROBOT.yaml says should."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wall_edge_bridge.drives import DriveSettings, SerialSettings
from wall_edge_bridge.kinds import MotorIdentity, kind_named
from wall_edge_bridge.transport.opening import open_wire

from wall_edge.config import RobotConfig

BAUDRATES = (1_000_000, 500_000, 115_200, 57_600, 2_000_000, 3_000_000, 4_000_000)
"""bit/s, the likeliest first: where motors are looked for that may have any."""


@dataclass(frozen=True)
class Line:
    """One motor, here or missing."""

    drive: str
    joint: str
    """Its name in ROBOT.yaml; empty when it is in none."""
    id: int
    verdict: Literal["here", "missing", "unknown"]
    motor: MotorIdentity | None = None


def look_for(settings: DriveSettings, ids: Sequence[int] | None = None) -> list[MotorIdentity]:
    """Who answers there, of the settings' kind. Reads only. Raises BusError."""
    kind = kind_named(settings.kind)
    wire = open_wire(settings)
    try:
        return list(kind.scan(settings, wire, kind.ids if ids is None else ids))
    finally:
        wire.close()


def at_every_baudrate(settings: DriveSettings) -> Iterator[DriveSettings]:
    """The same port at each speed that motors may have; a CAN channel has one."""
    if not isinstance(settings, SerialSettings):
        yield settings
        return
    for baudrate in dict.fromkeys((settings.baudrate, *BAUDRATES)):
        yield replace(settings, baudrate=baudrate)


def compared(config: RobotConfig, drive: str, motors: Sequence[MotorIdentity]) -> list[Line]:
    """Every motor of one drive, and every one that answered though no joint has its id."""
    by_id = {motor.id: motor for motor in motors}
    joints = [joint for joint in config.joints if joint.drive == drive]
    lines = [
        Line(drive, joint.name, joint.id, "here" if joint.id in by_id else "missing", by_id.get(joint.id))
        for joint in joints
    ]
    ids = {joint.id for joint in joints}
    return lines + [Line(drive, "", m.id, "unknown", m) for m in motors if m.id not in ids]
