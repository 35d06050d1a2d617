"""The way to the rest pose: one time-optimal, jerk-limited motion of all joints, planned by Ruckig.

Ruckig (Berscheid and Kröger, "Jerk-limited Real-time Trajectory Generation with Arbitrary Target States",
RSS 2021) starts from the motion as it is and brings all joints to rest at the same time. The limiter stays
behind it, as behind every reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import ruckig

from wall_edge.array_types import Floats
from wall_edge.config import Bounds
from wall_edge.errors import RuntimeFault

_ROOM = 0.9
"""Of each bound: what is left lets the limiter follow exactly."""


class Homing:
    """From ``state`` [3, dof] (rad, rad/s, rad/s²) to ``target`` [dof, rad], at most at ``velocity`` [rad/s].

    Raises RuntimeFault when Ruckig finds no such motion.
    """

    def __init__(
        self, state: Floats, target: Sequence[float], velocity: float, bounds: Sequence[Bounds]
    ) -> None:
        motion = ruckig.InputParameter(len(target))
        motion.current_position, motion.current_velocity, motion.current_acceleration = state.tolist()
        motion.target_position = list(target)
        motion.max_velocity = [_ROOM * min(velocity, b.velocity) for b in bounds]
        motion.max_acceleration = [_ROOM * b.acceleration for b in bounds]
        motion.max_jerk = [_ROOM * b.jerk for b in bounds]
        self._way = ruckig.Trajectory(len(target))
        try:
            result = ruckig.Ruckig(len(target)).calculate(motion, self._way)
        except ruckig.RuckigError as error:
            raise RuntimeFault(f"no way to the rest pose: {error}") from None
        if result != ruckig.Result.Working:
            raise RuntimeFault(f"no way to the rest pose: Ruckig says {result!r}")

    @property
    def duration_s(self) -> float:
        """How long the motion takes [s]."""
        return float(self._way.duration)

    def at(self, seconds: float, out: Floats) -> None:
        """Writes position, velocity and acceleration ``seconds`` into the motion into ``out`` [3, dof]."""
        out[0], out[1], out[2] = self._way.at_time(min(seconds, self._way.duration))[:3]
