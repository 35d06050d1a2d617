"""The ``drive`` section of ROBOT.yaml: the bus and its joints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import (
    MAX_DOF,
    between,
    positive,
    require_name,
    require_text,
    require_unique,
)
from wall_edge.config.limits import MAX_ANGLE, MAX_PATH, MAX_VELOCITY
from wall_edge.config_loader import Invalid


@dataclass(frozen=True)
class JointConfig:
    """One motor and the limits of what it moves."""

    name: str
    id: int
    """Bus address, 0 to 253 (254 speaks to all)."""
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
    zero_ticks: int = 2048
    """Encoder count at 0 rad, 0 to 4095."""
    direction: Literal[1, -1] = 1
    """-1 when the motor counts against the joint's angle."""
    homing_offset: int | None = None
    """What the motor's own memory must hold as its offset [ticks]; null does not compare."""

    def __post_init__(self) -> None:
        require_name("name", self.name)
        between("id", self.id, 0, 253)
        between("zero_ticks", self.zero_ticks, 0, 4095, "ticks")
        between("homing_offset", self.homing_offset, -2047, 2047, "ticks")
        positive("max_velocity", self.max_velocity, "rad/s", MAX_VELOCITY)
        positive("max_acceleration", self.max_acceleration, "rad/s²", 1e5)
        positive("max_jerk", self.max_jerk, "rad/s³", 1e8)
        for name in ("lower", "upper"):
            between(name, getattr(self, name), -MAX_ANGLE, MAX_ANGLE, "rad")
        if self.lower >= self.upper:
            raise Invalid("lower", self.lower, expected=f"less than upper ({self.upper:g} rad)")


@dataclass(frozen=True)
class DriveConfig:
    """The bus and its joints, in the order of every position vector."""

    port: str
    """Serial device (/dev/ttyACM0, better /dev/serial/by-id/…), or ``sim`` for the simulated arm."""
    joints: tuple[JointConfig, ...]
    kind: Literal["feetech"] = "feetech"
    baudrate: int = 1_000_000
    """Bits a second."""
    timeout_ms: float = 20.0
    """How long one answer of a motor may take [ms]."""

    def __post_init__(self) -> None:
        between("baudrate", self.baudrate, 1200, 4_000_000, "bit/s")
        positive("timeout_ms", self.timeout_ms, "ms", 1000)
        if not 1 <= len(self.joints) <= MAX_DOF:
            raise Invalid("joints", list(self.joints), expected=f"at least one joint, at most {MAX_DOF}")
        require_text("port", self.port, MAX_PATH)
        require_unique("joints", [joint.id for joint in self.joints], "id")
        require_unique("joints", [joint.name for joint in self.joints], "name")
