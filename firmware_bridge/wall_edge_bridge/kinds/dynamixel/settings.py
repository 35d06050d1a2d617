"""What ROBOT.yaml says of a bus of Dynamixel motors, and of each joint."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wall_edge.checks import between, one_of, positive
from wall_edge.config_loader import Invalid
from wall_edge_bridge.drives import Capabilities, Joint, SerialSettings
from wall_edge_bridge.kinds.dynamixel.codec import MAX_ID
from wall_edge_bridge.kinds.dynamixel.models import NUMBERS
from wall_edge_bridge.kinds.dynamixel.registers import BAUD_RATES, EXTENDED_TICKS, MAX_TICK, RADIANS_PER_TICK

IDS = range(MAX_ID + 1)
CAPABILITIES = Capabilities(velocity=True, effort=True, temperature=True, voltage=True, watchdog=True)


@dataclass(frozen=True)
class DynamixelSettings(SerialSettings):
    """One bus of Dynamixel motors."""

    fast: bool = False
    """Fast sync read: all motors answer in one packet. Every motor's firmware must know it."""
    full_feedback: bool = False
    """Read velocity and current in every cycle, not every 30 ms: 6 bytes more a motor and cycle."""
    return_delay_us: int = 0
    """Longest return delay (register 9) that a motor may have [µs]; from the factory it is 500."""
    extended_watchdog: bool = False
    """The firmware of motors in extended position mode is known to stop, not to turn, when the bus watchdog
    expires while they have a homing offset (DynamixelSDK issue 584)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baudrate not in BAUD_RATES:
            raise Invalid("baudrate", self.baudrate, expected=" or ".join(map(str, BAUD_RATES)))
        between("return_delay_us", self.return_delay_us, 0, 508, "µs")


@dataclass(frozen=True)
class DynamixelJoint(Joint):
    """A joint on a Dynamixel motor of the X series, in position mode."""

    zero_ticks: int = 2048
    """What the motor reports at the joint's 0 [tick, 4096 a turn], its homing offset included."""
    model: str | None = None
    """As XL330-M288; null: any of the X series."""
    extended: bool = False
    """The motor is in extended position mode: any number of turns."""
    reverse: bool = False
    """The motor's own reverse mode is on (register 10, bit 0)."""
    homing_offset: int | None = None
    """What the motor must have in register 20 [tick]; null: not compared."""
    range_ticks: tuple[int, int] | None = None
    """What it must have in registers 52 and 48, its least and greatest position [tick], where LeRobot writes
    a calibrated range; null: not compared."""
    torque_constant: float | None = None
    """Nm/A; of motors that report a load, Nm at 100 %. null: the model's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("id", self.id, 0, MAX_ID)
        between("zero_ticks", self.zero_ticks, -EXTENDED_TICKS, EXTENDED_TICKS, "tick")
        between("homing_offset", self.homing_offset, -1_044_479, 1_044_479, "tick")
        if self.range_ticks is not None:
            for i, end in enumerate(self.range_ticks):
                between(f"range_ticks[{i}]", end, 0, MAX_TICK, "tick")
            if self.range_ticks[0] >= self.range_ticks[1]:
                raise Invalid("range_ticks", list(self.range_ticks), expected="the lower end first")
        positive("torque_constant", self.torque_constant, "Nm/A", 100.0)
        if self.model is not None:
            one_of("model", self.model, tuple(NUMBERS))
        ends = sorted((self.ticks_at(self.lower), self.ticks_at(self.upper)))
        first, last = (-EXTENDED_TICKS, EXTENDED_TICKS) if self.extended else (0, MAX_TICK)
        if ends[0] < first - 0.5 or ends[1] > last + 0.5:
            raise Invalid(
                "zero_ticks",
                self.zero_ticks,
                expected=f"limits within ticks {first} to {last}; {self.lower:.6g} to {self.upper:.6g} rad "
                f"are {math.floor(ends[0])} to {math.ceil(ends[1])}",
            )

    def ticks_at(self, radians: float) -> float:
        """What the motor reports at an angle of the joint [rad], not rounded."""
        return self.zero_ticks + self.direction * radians / RADIANS_PER_TICK
