"""Explicit Euler integration of the flow-matching velocity field."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from wall_edge.array_types import Floats32


def guided(
    terms: Callable[[Floats32, float], tuple[Floats32, Floats32]], max_weight: float
) -> Callable[[Floats32, float], Floats32]:
    """The velocity field of real-time chunking, from ``terms(x, t)`` = velocity and guidance [horizon, dof].

    v + min(β, (1 - t) / (t · r²)) · guidance with r² = (1 - t)² / (t² + (1 - t)²): equations 2 to 4 of Black
    et al., arXiv 2506.07339, which takes them from ΠGDM (Pokle et al., arXiv 2310.04432).
    """

    def velocity(x: Floats32, time: float) -> Floats32:
        v, guidance = terms(x, time)
        pulled: Floats32 = v + np.float32(guidance_weight(time, max_weight)) * guidance
        return pulled

    return velocity


def guidance_weight(time: float, max_weight: float) -> float:
    """min(β, (1 - t) / (t · r²)), β at both ends."""
    span = time * (1 - time)
    return max_weight if span <= 0 else min(max_weight, (time**2 + (1 - time) ** 2) / span)


def integrate(
    velocity: Callable[[Floats32, float], Floats32], noise: Floats32, grid: Sequence[float]
) -> Floats32:
    """From ``noise`` at time 0 to the action at time 1, ``[horizon, dof]`` both, one step a grid interval."""
    x = noise
    for now, then in itertools.pairwise(np.asarray(grid, dtype=np.float32)):
        x = x + (then - now) * velocity(x, float(now))
    return x
