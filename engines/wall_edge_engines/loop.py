"""The integration loop of flow matching as data: one :class:`Step` a grid interval.

The graph itself takes the step (explicit Euler, in float32), so that a loop is one graph run again and again:
``next_action = noisy_action + size · (velocity + guidance_weight · guidance)``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wall_edge.array_types import Floats32


class Step(NamedTuple):
    """One run of the graph: at ``time``, over ``size``, with the guidance times ``guidance_weight``."""

    time: float
    size: float
    guidance_weight: float


@dataclass(frozen=True)
class Guidance:
    """What real-time chunking (Black et al., arXiv 2506.07339) pulls a chunk to.

    ``target, weights [horizon, slots]``, normalised; ``max_weight`` is β there. ``jacobian``: by the
    vector-Jacobian product (the graph ``guided``), or element by element.
    """

    target: Floats32
    weights: Floats32
    max_weight: float
    jacobian: bool


def loop_steps(grid: Sequence[float], max_weight: float = 0.0) -> tuple[Step, ...]:
    """The steps along ``grid``, which rises from 0 (noise) to 1 (action) or shortly before it; without
    guidance by default."""
    times = np.asarray(grid, dtype=np.float32)
    return tuple(
        Step(float(now), float(then - now), guidance_weight(float(now), max_weight))
        for now, then in itertools.pairwise(times)
    )


def guidance_weight(time: float, max_weight: float) -> float:
    """min(β, (1 - t) / (t · r²)) with r² = (1 - t)² / (t² + (1 - t)²), β at both ends.

    Equations 2 to 4 of Black et al., arXiv 2506.07339, which takes them from ΠGDM (arXiv 2310.04432).
    """
    span = time * (1 - time)
    return max_weight if span <= 0 else min(max_weight, (time**2 + (1 - time) ** 2) / span)
