"""What ROBOT.yaml says of a joint: what every kind of motor needs, and what several kinds share.

Each kind of drive extends one of these with its own keys; the loader of ROBOT.yaml takes them from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import between, positive, require_name
from wall_edge.config_loader import Invalid

MAX_ANGLE = 1e3
"""rad"""
MAX_VELOCITY = 1e3
"""rad/s"""


@dataclass(frozen=True)
class Joint:
    """One joint, its motor and its limits. Raises Invalid for values that contradict each other."""

    name: str
    id: int
    """The motor's address on its bus."""
    lower: float
    """Smallest setpoint [rad]."""
    upper: float
    """Largest setpoint [rad]."""
    max_velocity: float
    """Fastest setpoint change [rad/s]."""
    max_acceleration: float = 20.0
    """[rad/s²]"""
    max_jerk: float = 400.0
    """[rad/s³]"""
    drive: str = ""
    """Which of ``drives`` moves it; empty: the only one."""
    direction: Literal[1, -1] = 1
    """-1 when the motor counts against the joint's angle."""

    def __post_init__(self) -> None:
        require_name("name", self.name)
        positive("max_velocity", self.max_velocity, "rad/s", MAX_VELOCITY)
        positive("max_acceleration", self.max_acceleration, "rad/s²", 1e5)
        positive("max_jerk", self.max_jerk, "rad/s³", 1e8)
        for name in ("lower", "upper"):
            between(name, getattr(self, name), -MAX_ANGLE, MAX_ANGLE, "rad")
        if self.lower >= self.upper:
            raise Invalid("lower", self.lower, expected=f"less than upper ({self.upper:g} rad)")

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.name} (id {self.id})"


@dataclass(frozen=True)
class OffsetJoint(Joint):
    """A joint whose motor counts an angle of its own."""

    zero_rad: float = 0.0
    """The motor's own angle at the joint's 0 [rad], in the motor's sense of rotation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("zero_rad", self.zero_rad, -MAX_ANGLE, MAX_ANGLE, "rad")


@dataclass(frozen=True)
class ImpedanceJoint(OffsetJoint):
    """A joint whose motor follows position, velocity and effort at once (MIT mode).

    effort = kp · (position setpoint - position) + kd · (velocity setpoint - velocity) + effort setpoint.
    """

    kp: float = 30.0
    """[Nm/rad]"""
    kd: float = 1.0
    """[Nm·s/rad]; a motor with kp and without kd oscillates."""
    max_effort: float | None = None
    """Most feed-forward [Nm]; null: what the motor can do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("kp", self.kp, 0.0, 5000.0, "Nm/rad")
        between("kd", self.kd, 0.0, 100.0, "Nm·s/rad")
        positive("max_effort", self.max_effort, "Nm", 1000.0)
        if self.kp > 0 and self.kd == 0:
            raise Invalid("kd", self.kd, expected="more than 0 where kp is: without it a motor oscillates")
