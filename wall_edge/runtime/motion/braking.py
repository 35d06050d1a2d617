"""One joint's motion under bounds: pure functions of position, velocity and acceleration.

A joint's state is ``(position [rad], velocity [rad/s], acceleration [rad/s²])``. A state is safe when the
fastest full stop from it keeps every bound; whoever moves from safe state to safe state can always stop. The
stop is the time-optimal one under an acceleration and a jerk bound: jerk against the motion, constant
deceleration, jerk back to rest (the seven-segment profile without its first half; Biagiotti and Melchiorri,
"Trajectory Planning for Automatic Machines and Robots", 2008, section 3.4).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from wall_edge.config import Bounds

JointMotion = tuple[float, float, float]
"""Position [rad], velocity [rad/s] and acceleration [rad/s²] of one joint."""


class Stop(NamedTuple):
    """The time-optimal stop: jerk ``-direction · jerk`` for ``t1``, none for ``t2``, the reverse for ``t3``.

    Times in s, jerk in rad/s³. ``direction`` is 1 or -1.
    """

    direction: float
    jerk: float
    t1: float
    t2: float
    t3: float

    def after(self, state: JointMotion, seconds: float) -> JointMotion:
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
    remaining = velocity + acceleration * abs(acceleration) / (2 * jerk)
    direction = 1.0 if remaining > 0 else -1.0
    v, a = direction * velocity, direction * acceleration
    peak = math.sqrt(max(0.0, jerk * v + a * a / 2))
    if peak <= limit:
        return Stop(direction, jerk, max(0.0, (a + peak) / jerk), 0.0, peak / jerk)
    plateau = max(0.0, (v + a * a / (2 * jerk)) / limit - limit / jerk)
    return Stop(direction, jerk, (a + limit) / jerk, plateau, limit / jerk)


def stop_distance(velocity: float, acceleration: float, bounds: Bounds) -> float:
    """How far a joint goes in :func:`stop_of`: the end of ``after(…, inf)``, at a third of its cost."""
    limit, jerk = bounds.acceleration, bounds.jerk
    direction = 1.0 if velocity + acceleration * abs(acceleration) / (2 * jerk) > 0 else -1.0
    v, a = direction * velocity, direction * acceleration
    peak = math.sqrt(max(0.0, jerk * v + a * a / 2))
    if peak <= limit:
        t1 = max(0.0, (a + peak) / jerk)
        return direction * (t1 * (v + t1 * (a / 2 - t1 * jerk / 6)) + peak * peak * peak / (6 * jerk * jerk))
    t1 = (a + limit) / jerk
    t2 = max(0.0, (v + a * a / (2 * jerk)) / limit - limit / jerk)
    distance = t1 * (v + t1 * (a / 2 - t1 * jerk / 6))
    v += t1 * (a - t1 * jerk / 2)
    distance += t2 * (v - t2 * limit / 2)
    return direction * (distance + limit * limit * limit / (6 * jerk * jerk))


def safe(state: JointMotion, bounds: Bounds) -> bool:
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


def well_inside(state: JointMotion, bounds: Bounds) -> bool:
    """Whether ``state`` is :func:`safe` beyond doubt: True only then, nearly always, and at a fifth of it.

    Nowhere is the stop faster than ``most``; it lasts no longer than with each of its parts at the longest.
    """
    p, v, a = state
    size, jerk, limit = abs(a), bounds.jerk, bounds.acceleration
    most = abs(v) + size * size / (2 * jerk)
    if not (size <= limit and most <= bounds.velocity):
        return False
    reach = most * ((size + 2 * min(limit, math.sqrt(jerk * most))) / jerk + most / limit)
    return bounds.lower + reach <= p <= bounds.upper - reach


def glide(state: JointMotion, jerk: float, seconds: float) -> JointMotion:
    """The state after ``seconds`` of constant ``jerk``."""
    p, v, a = state
    t = seconds
    return p + t * (v + t * (a / 2 + t * jerk / 6)), v + t * (a + t * jerk / 2), a + t * jerk
