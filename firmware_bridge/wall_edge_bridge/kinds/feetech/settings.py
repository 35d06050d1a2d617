"""What ROBOT.yaml says of a Feetech bus and its servos."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.checks import between, positive
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives import Capabilities, Joint, SerialSettings

MAX_SERVO_ID = 253
"""254 speaks to all servos."""
IDS = range(MAX_SERVO_ID + 1)
MAX_TICK = 4095


@dataclass(frozen=True)
class FeetechSettings(SerialSettings):
    """A serial bus of STS servos; they leave the factory at 1 Mbaud."""

    kind: str = "feetech"


@dataclass(frozen=True)
class FeetechJoint(Joint):
    """One STS servo."""

    zero_ticks: int = 2048
    """Encoder count at 0 rad, 0 to 4095."""
    homing_offset: int | None = None
    """What the servo's own memory must hold as its offset [ticks]; null does not compare."""
    range_ticks: tuple[int, int] | None = None
    """What it must hold as min_angle and max_angle [ticks], where LeRobot writes a calibrated range; null
    does not compare. 0 and 0: any number of turns."""
    stall_torque: float = 2.94
    """Nm at full drive voltage: an STS3215 at 12 V; at 7.4 V it is 1.91. Scales the load that it reports."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("id", self.id, 0, MAX_SERVO_ID)
        between("zero_ticks", self.zero_ticks, 0, MAX_TICK, "ticks")
        between("homing_offset", self.homing_offset, -2047, 2047, "ticks")
        if self.range_ticks is not None and self.range_ticks != (0, 0):
            for i, end in enumerate(self.range_ticks):
                between(f"range_ticks[{i}]", end, 0, MAX_TICK, "ticks")
            if self.range_ticks[0] >= self.range_ticks[1]:
                raise Invalid("range_ticks", list(self.range_ticks), expected="the lower end first")
        positive("stall_torque", self.stall_torque, "Nm", 100.0)


CAPABILITIES = Capabilities(velocity=True, effort=True, temperature=True, voltage=True)
"""Velocity and effort by ``look`` alone: a cycle asks for positions, which keeps it short. No watchdog."""
