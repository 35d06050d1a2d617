"""One joint's motion under bounds: pure functions of position, velocity and acceleration.

A joint's state is ``(position [rad], velocity [rad/s], acceleration [rad/s²])``. A state is safe when the
fastest full stop from it keeps every bound; whoever moves from safe state to safe state can always stop. The
stop is the time-optimal one under an acceleration and a jerk bound: jerk against the motion, constant
deceleration, jerk back to rest (the seven-segment profile without its first half; Biagiotti and Melchiorri,
"Trajectory Planning for Automatic Machines and Robots", 2008, section 3.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from wall_edge.errors import ConfigError

__all__ = ["Bounds", "State", "Stop", "glide", "safe", "stop_of", "stopping_distance"]

State = tuple[float, float, float]
"""Position [rad], velocity [rad/s] and acceleration [rad/s²] of one joint."""


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
        given = (self.lower, self.upper, self.velocity, self.acceleration, self.jerk)
        if not all(map(math.isfinite, given)) or not self.lower < self.upper or min(given[2:]) <= 0:
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


class Stop(NamedTuple):
    """The time-optimal stop: jerk ``-direction · jerk`` for ``t1``, none for ``t2``, the reverse for ``t3``.

    Times in s, jerk in rad/s³. ``direction`` is 1 or -1.
    """

    direction: float
    jerk: float
    t1: float
    t2: float
    t3: float

    def after(self, state: State, seconds: float) -> State:
        """The state ``seconds`` into the stop that begins at ``state``; at rest from its end on."""
        jerk = -self.direction * self.jerk
        for j, lasts in ((jerk, self.t1), (0.0, self.t2), (-jerk, self.t3)):
            state = glide(state, j, min(seconds, lasts))
            seconds -= lasts
            if seconds < 0:
                return state
        return state[0], 0.0, 0.0


def stop_of(velocity: float, acceleration: float, bounds: Bounds) -> Stop:
    """The fastest way to velocity and acceleration 0, from within the acceleration bound."""
    limit, jerk = bounds.acceleration, bounds.jerk
    # What is left when the acceleration alone is taken back says which way to brake.
    left = velocity + acceleration * abs(acceleration) / (2 * jerk)
    direction = 1.0 if left > 0 else -1.0
    v, a = direction * velocity, direction * acceleration
    peak = math.sqrt(max(0.0, jerk * v + a * a / 2))
    if peak <= limit:
        return Stop(direction, jerk, max(0.0, (a + peak) / jerk), 0.0, peak / jerk)
    held = max(0.0, (v + a * a / (2 * jerk)) / limit - limit / jerk)
    return Stop(direction, jerk, (a + limit) / jerk, held, limit / jerk)


def safe(state: State, bounds: Bounds) -> bool:
    """Whether the stop from ``state`` keeps every bound all the way."""
    p, v, a = state
    if not abs(a) <= bounds.acceleration:  # so written, every comparison here refuses NaN
        return False
    stop = stop_of(v, a, bounds)
    v, a = stop.direction * v, stop.direction * a
    fastest = v + a * a / (2 * bounds.jerk) if a > 0 else v
    if not -bounds.velocity <= v <= fastest <= bounds.velocity:
        return False
    end, turn = stop.after(state, math.inf)[0], p
    if v < 0:  # it still moves the other way, and turns where the velocity passes 0
        turn = stop.after(state, (a - math.sqrt(max(0.0, a * a + 2 * bounds.jerk * v))) / bounds.jerk)[0]
    return bounds.lower <= min(p, end, turn) and max(p, end, turn) <= bounds.upper


def glide(state: State, jerk: float, seconds: float) -> State:
    """The state after ``seconds`` of constant ``jerk``."""
    p, v, a = state
    t = seconds
    return p + t * (v + t * (a / 2 + t * jerk / 6)), v + t * (a + t * jerk / 2), a + t * jerk


def stopping_distance(velocity: float, acceleration: float, jerk: float) -> float:
    """How far a joint goes [rad] that stops from a steady ``velocity`` [rad/s]."""
    if velocity * jerk <= acceleration * acceleration:
        return velocity * math.sqrt(velocity / jerk)
    return velocity / 2 * (velocity / acceleration + acceleration / jerk)
