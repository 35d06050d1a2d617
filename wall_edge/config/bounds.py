"""What one joint must never exceed, and whether those bounds agree with each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wall_edge.errors import ConfigError


@dataclass(frozen=True)
class Bounds:
    """What a joint must never exceed: ``lower`` … ``upper`` [rad] and the magnitudes of its derivatives.

    Raises ConfigError, with the arithmetic, for bounds that contradict each other.
    """

    lower: float
    upper: float
    velocity: float
    """[rad/s]"""
    acceleration: float
    """[rad/s²]"""
    jerk: float
    """[rad/s³]"""
    name: str = "joint"

    def __post_init__(self) -> None:
        values = (self.lower, self.upper, self.velocity, self.acceleration, self.jerk)
        if not all(map(math.isfinite, values)) or not self.lower < self.upper or min(values[2:]) <= 0:
            raise ConfigError(
                f"{self.name}: lower {self.lower:g}, upper {self.upper:g} rad, velocity {self.velocity:g} "
                f"rad/s, acceleration {self.acceleration:g} rad/s², jerk {self.jerk:g} rad/s³",
                expected="finite values, lower < upper, the others above 0",
            )
        braking = stopping_distance(self.velocity, self.acceleration, self.jerk)
        if braking > self.upper - self.lower:
            raise ConfigError(
                f"{self.name}: stopping from {self.velocity:g} rad/s at {self.acceleration:g} rad/s² and "
                f"{self.jerk:g} rad/s³ takes {braking:.3f} rad, but the joint's whole range is "
                f"{self.upper:g} - {self.lower:g} = {self.upper - self.lower:.3f} rad",
                expected="limits within which the joint can stop",
                fix="lower max_velocity, or raise max_acceleration and max_jerk",
            )

    def inside(self, dt: float) -> Bounds:
        """Narrower bounds for a loop of period ``dt`` [s]: between ticks, and after rounding, these hold.

        With a jerk of at most J a velocity that is v at both ends of a tick is at most v + J·dt²/8 between.
        """
        velocity = self.velocity - self.jerk * dt * dt / 8
        if velocity <= 0:
            raise ConfigError(
                f"{self.name}: within a tick of {1e3 * dt:g} ms a jerk of {self.jerk:g} rad/s³ adds "
                f"{self.jerk:g} · {dt:g}² / 8 = {self.jerk * dt * dt / 8:g} rad/s, but max_velocity is "
                f"{self.velocity:g}",
                expected="less than max_velocity",
                fix="raise control.rate_hz or lower max_jerk",
            )
        little = 1e-6
        gap = little * (self.upper - self.lower)
        shrink = 1 - little
        return Bounds(
            self.lower + gap,
            self.upper - gap,
            velocity * shrink,
            self.acceleration * shrink,
            self.jerk * shrink,
            self.name,
        )


def stopping_distance(velocity: float, acceleration: float, jerk: float) -> float:
    """How far a joint goes [rad] that stops from a steady ``velocity`` [rad/s]."""
    if velocity * jerk <= acceleration * acceleration:
        return velocity * math.sqrt(velocity / jerk)
    return velocity / 2 * (velocity / acceleration + acceleration / jerk)
