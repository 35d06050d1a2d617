"""A path of positions slowed down: a step goes no farther than a speed allows, from where the tip is on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wall_edge.array_types import Floats

_ROUNDED = 1 + 1e-9

Point = tuple[float, float, float]


def slowed(path: Floats, start: Floats, reach: float) -> Floats:
    """``path`` [H, 3] from ``start`` [3] on, no step longer than ``reach`` [m]; itself where none is.

    Each step heads for where the path is at its time: what was missed is caught up, never skipped.
    """
    steps = np.diff(path, axis=0, prepend=start[None])
    if (np.einsum("ij,ij->i", steps, steps) <= (reach * _ROUNDED) ** 2).all():
        return path
    result: Floats = path.copy()
    at: Sequence[float] = start.tolist()
    for k, goal in enumerate(path.tolist()):
        toward = towards(at, goal, reach)
        if toward is not goal:
            result[k] = toward
        at = toward
    return result


def towards(at: Sequence[float], goal: Sequence[float], reach: float) -> Sequence[float]:
    """``goal``, or where a straight line from ``at`` to it is after ``reach``."""
    x, y, z = goal[0] - at[0], goal[1] - at[1], goal[2] - at[2]
    length = math.sqrt(x * x + y * y + z * z)
    if length <= reach * _ROUNDED:
        return goal
    part = reach / length
    return at[0] + part * x, at[1] + part * y, at[2] + part * z
