"""Chunks of poses as a policy in trouble would send them, and as one in none does."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.fuzz.pose_robot import BOX, CHUNK_HZ, HORIZON
from wall_edge.array_types import Floats

KINDS = (
    "honest",
    "fast",
    "noise",
    "millimetres",
    "flips",
    "jumps",
    "swapped",
    "together",
    "under the table",
    "behind the walls",
    "degrees",
    "not finite",
    "zeros",
)
_HAND = 7
"""Values of one hand: position, rpy, gripper."""
_LOW, _HIGH = np.array([BOX[axis] for axis in "xyz"]).T


class PoseStream:
    """Policy values ``[horizon, 14]``. ``honest``: smooth ways of moderate speed between places inside."""

    def __init__(self, rng: np.random.Generator, honest: bool) -> None:
        self._rng, self._honest = rng, honest
        self._goal: Floats = np.zeros(2 * _HAND)
        self._speed, self._left = 0.2, 0

    def chunk(self, state: Floats) -> tuple[str, Floats]:
        """What it is, and the chunk, from the policy's ``state`` [14] on."""
        if self._left <= 0:
            self._choose()
        self._left -= 1
        kind = "honest" if self._honest else str(self._rng.choice(KINDS))
        values = self._smooth(state, self._goal, self._speed)
        if kind != "honest":
            values = self._spoilt(kind, values, state)
        return kind, values

    def _choose(self) -> None:
        """Another place for both hands: each on its own side, where the arms do reach."""
        rng = self._rng
        for hand, side in enumerate((1, -1)):
            position = [rng.uniform(0.12, 0.3), side * rng.uniform(0.06, 0.3), rng.uniform(0.03, 0.25)]
            turn = [*rng.uniform(-0.3, 0.3, 2), rng.uniform(-1, 1)]
            self._goal[hand * _HAND : (hand + 1) * _HAND] = [*position, *turn, rng.uniform(0, 0.8)]
        self._speed, self._left = float(rng.uniform(0.05, 0.3)), int(rng.integers(8, 30))

    def _smooth(self, state: Floats, goal: Floats, speed: float) -> Floats:
        """Both hands on straight lines, the farther one at ``speed`` [m/s]."""
        ways = [float(np.linalg.norm((goal - state)[hand * _HAND :][:3])) for hand in (0, 1)]
        steps = np.arange(1, HORIZON + 1)[:, None] / CHUNK_HZ
        part = np.minimum(steps * speed / max(*ways, 0.05), 1.0)
        values: Floats = state + part * (goal - state)
        return values

    def _spoilt(self, kind: str, values: Floats, state: Floats) -> Floats:
        rng, positions = self._rng, [0, 1, 2, 7, 8, 9]
        rotations = [3, 4, 5, 10, 11, 12]
        if kind == "fast":
            return self._smooth(state, self._goal, float(rng.uniform(1, 5)))
        if kind == "noise":
            values[:, positions] += rng.normal(0, 0.3, (HORIZON, 6))
        elif kind == "millimetres":
            values[:, positions] *= 1000
        elif kind == "flips":
            values[:, rotations] += rng.choice([-math.pi, 0, math.pi], (HORIZON, 6))
        elif kind == "jumps":
            values[rng.integers(HORIZON) :, positions] += rng.uniform(-0.3, 0.3, 6)
        elif kind == "swapped":
            values = np.roll(values, _HAND, axis=1)
        elif kind == "together":
            values[:, 7:10] = values[:, 0:3] + rng.normal(0, 0.01, 3)
        elif kind == "under the table":
            goal = state.copy()
            goal[[2, 9]] -= rng.uniform(0.1, 0.5)
            return self._smooth(state, goal, float(rng.uniform(0.1, 3)))
        elif kind == "behind the walls":
            for hand in (0, 1):
                there = rng.choice([_LOW - 0.1, _HIGH + 0.1], axis=0)
                values[:, hand * _HAND : hand * _HAND + 3] = there
        elif kind == "degrees":
            values[:, rotations] = np.degrees(values[:, rotations])
        elif kind == "not finite":
            values[rng.integers(HORIZON), rng.integers(2 * _HAND)] = rng.choice(
                [math.nan, math.inf, -math.inf]
            )
        else:
            values[:] = 0
        return values
