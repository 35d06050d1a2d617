"""What counts as reaching a pose, and how an arm of few joints does its best.

Arms with fewer than six joints cannot have every orientation. Weighting alone would trade position for it
(10° off cost SO-101 10 mm): they follow it weakly first, then bring the position home.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.config_loader import Invalid
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.newton import Postures, Targets, refined

FULL = 6
"""Joints from which on a pose is reached in position and orientation."""
_RANGES = {
    "orientation_weight": (1e-3, 10.0),
    "weak_weight": (1e-3, 10.0),
    "tolerance_m": (2e-5, 0.1),
    "tolerance_rad": (2e-4, 1.0),
    "cap_s": (1e-4, 10.0),
}


@dataclass(frozen=True)
class SolverSettings:
    """``orientation_weight`` is what a radian counts in metres (``weak_weight``: with fewer than six joints).

    ``tolerance_m`` and ``tolerance_rad`` say what is solved; anything else is only the nearest. ``cap_s``
    bounds the time of one chunk of one chain.
    """

    orientation_weight: float = 0.2
    weak_weight: float = 0.02
    tolerance_m: float = 1e-4
    tolerance_rad: float = 1.745e-3
    cap_s: float = 6e-3
    orientation: bool = True
    """Whether the orientation is asked for at all: a pose may have a position only."""

    def __post_init__(self) -> None:
        for key, (low, high) in _RANGES.items():
            if not low <= getattr(self, key) <= high:
                raise Invalid(key, getattr(self, key), expected=f"{low:g} to {high:g}")


@dataclass(frozen=True, eq=False)
class Poses:
    """Of a tip in its base link's frame: ``positions [H, 3]`` in m, ``rotations [H, 3, 3]``."""

    positions: Floats
    rotations: Floats


class Aim:
    """A chain's way to its poses."""

    def __init__(self, chain: Chain, settings: SolverSettings) -> None:
        self.chain, self.settings = chain, settings
        self.full = settings.orientation and len(chain.joints) >= FULL

    def refined(self, q: Floats, targets: Targets, iterations: int, deadline: float = np.inf) -> Postures:
        """``q [n, B]`` nearer to its poses, as near as so many iterations bring it."""
        if self.full:
            weight = self.settings.orientation_weight
            return refined(self.chain, q, targets, weight, iterations, deadline)
        weak = refined(self.chain, q, targets, self.settings.weak_weight, min(iterations, 6), deadline)
        return refined(self.chain, weak.q, targets, 0.0, iterations, deadline)

    def solved(self, postures: Postures) -> npt.NDArray[np.bool_]:
        """Which are at their poses ``[B]``; with fewer than six joints, at their positions."""
        near = postures.error_m <= self.settings.tolerance_m
        if self.full:
            near &= postures.error_rad <= self.settings.tolerance_rad
        return near
