"""A chunk of poses becomes a chunk of joint positions: continuous, within limits and speeds, in bounded time.

1. Warm: all steps at once, from the plan that the last chunk left.
2. Where that leaves a step too large: again from the present posture, a block of steps after the other, each
   from the last posture of the one before. No step is ever started anew elsewhere: that would change branch.
3. What speeds do not allow is clipped, step by step; then the poses that result are computed and compared.

Arms with fewer than six joints cannot have every orientation: they follow it weakly, and positions exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.config_loader import Invalid
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.newton import Postures, Targets, errors_of, refined

FULL = 6
"""Joints from which on a pose is reached in position and orientation."""
_SLACK = 1e-9
"""Of a speed: rounding is no violation."""


@dataclass(frozen=True)
class SolverSettings:
    """``orientation_weight`` is what a radian counts in metres; ``cap_s`` bounds one chunk's time.

    ``tolerance_m`` and ``tolerance_rad`` say what is solved; anything else is only the nearest.
    """

    orientation_weight: float = 0.2
    weak_weight: float = 0.02
    tolerance_m: float = 1e-4
    tolerance_rad: float = 1.745e-3
    cap_s: float = 6e-3
    iterations: int = 12
    block: int = 8
    orientation: bool = True
    """Whether that of the poses counts; if not, it is followed as far as positions let it."""

    def __post_init__(self) -> None:
        ranges = {
            "orientation_weight": (1e-3, 10.0),
            "weak_weight": (1e-3, 10.0),
            "tolerance_m": (2e-5, 0.1),
            "tolerance_rad": (2e-4, 1.0),
            "cap_s": (1e-4, 10.0),
            "iterations": (1, 100),
            "block": (1, 64),
        }
        for key, (low, high) in ranges.items():
            if not low <= getattr(self, key) <= high:
                raise Invalid(key, getattr(self, key), expected=f"{low:g} to {high:g}")


@dataclass(frozen=True, eq=False)
class Poses:
    """Of a tip in its base link's frame: ``positions [H, 3]`` in m, ``rotations [H, 3, 3]``."""

    positions: Floats
    rotations: Floats


@dataclass(frozen=True, eq=False)
class Solution:
    """``positions [H, n]``; which of them are at their poses ``[H]``, and how far off, m and rad ``[H]``.

    With fewer than six joints, or without orientation, ``solved`` is about the position. ``cold``: the last plan was none, or no
    use. ``capped``: time ran out before the iterations did.
    """

    positions: Floats
    solved: npt.NDArray[np.bool_]
    error_m: Floats
    error_rad: Floats
    cold: bool
    capped: bool
    elapsed_s: float


class ChunkSolver:
    """Inverse kinematics of one chain. Deterministic while ``cap_s`` is not reached."""

    def __init__(self, chain: Chain, settings: SolverSettings | None = None) -> None:
        self.chain = chain
        self.settings = settings or SolverSettings()
        self._full = self.settings.orientation and len(chain.joints) >= FULL
        self._weight = self.settings.orientation_weight if self._full else self.settings.weak_weight

    def solve(self, poses: Poses, seed: Floats, dt: float, previous: Floats | None = None) -> Solution:
        """Joint positions ``[H, n]`` for a chunk of poses, ``dt`` seconds apart.

        ``seed [n]`` is the posture one ``dt`` before the first pose: no step leaves the one before it faster
        than the chain's ``velocity``. ``previous [H, n]`` is what was planned for the same steps, see
        :func:`shifted`.

        Raises:
            KinematicsError: for what is not finite, and for shapes that do not fit.
        """
        start = perf_counter()
        self._require(poses, seed, previous)
        deadline = start + self.settings.cap_s
        targets = Targets.of(poses.positions, poses.rotations)
        first = np.clip(seed, self.chain.lower, self.chain.upper)
        most = self.chain.velocity * dt
        q = None if previous is None else self._warm(previous, targets, first, most, deadline)
        cold = q is None
        if q is None:
            q = self._cold(targets, first, most, deadline)
        capped = perf_counter() > deadline
        q = _within_speed(q, np.asarray(seed, np.float64), most)
        error_m, error_rad = errors_of(self.chain, q, targets)
        solved = error_m <= self.settings.tolerance_m
        if self._full:
            solved &= error_rad <= self.settings.tolerance_rad
        return Solution(
            np.ascontiguousarray(q.T), solved, error_m, error_rad, cold, capped, perf_counter() - start
        )

    def _warm(
        self, previous: Floats, targets: Targets, first: Floats, most: Floats, deadline: float
    ) -> Floats | None:
        """Postures ``[n, H]`` from those planned before; None where a step came out too large."""
        guess = np.clip(previous.T, self.chain.lower[:, None], self.chain.upper[:, None])
        q = self._refined(guess, targets, deadline).q
        steps = np.abs(np.diff(q, axis=1, prepend=first[:, None]))
        largest = steps.max(0)
        fits = bool((steps <= most[:, None] * (1 + _SLACK)).all())
        return q if fits and largest.max() <= 2 * float(np.median(largest)) + 0.02 else None

    def _cold(self, targets: Targets, first: Floats, most: Floats, deadline: float) -> Floats:
        """Postures ``[n, H]`` from the present one alone."""
        horizon = targets.positions.shape[1]
        q = np.repeat(first[:, None], horizon, 1)
        edges = [0, 2, *range(self.settings.block, horizon, self.settings.block), horizon]
        for start, end in pairwise(edges):
            block = slice(start, end)
            pace = (
                np.clip(q[:, start - 1] - q[:, start - 2], -most, most) if start > 1 else np.zeros_like(first)
            )
            last = q[:, start - 1] if start else first
            ahead = last[:, None] + pace[:, None] * np.arange(1, horizon - start + 1)
            q[:, start:] = np.clip(ahead, self.chain.lower[:, None], self.chain.upper[:, None])
            if perf_counter() > deadline:
                break
            q[:, block] = self._refined(q[:, block], targets.at(block), deadline).q
        return q

    def _refined(self, q: Floats, targets: Targets, deadline: float) -> Postures:
        iterations = self.settings.iterations
        postures = refined(self.chain, q, targets, self._weight, iterations, deadline)
        if self._full:
            return postures
        return refined(self.chain, postures.q, targets, 0.0, iterations, deadline)

    def _require(self, poses: Poses, seed: Floats, previous: Floats | None) -> None:
        horizon, count = len(poses.positions), len(self.chain.joints)
        shapes = {
            "positions": (poses.positions, (horizon, 3)),
            "rotations": (poses.rotations, (horizon, 3, 3)),
            "seed": (seed, (count,)),
            "previous": (np.zeros((horizon, count)) if previous is None else previous, (horizon, count)),
        }
        for name, (values, shape) in shapes.items():
            if np.shape(values) != shape or not horizon:
                raise KinematicsError(
                    f"{name} of shape {np.shape(values)}", expected=f"{shape}, a step or more"
                )
            if not np.isfinite(values).all():
                raise KinematicsError(f"{name} of poses with NaN or infinite values", expected="finite ones")


def shifted(plan: Floats, executed: int, most: Floats) -> Floats:
    """A plan ``[H, n]`` less the steps executed, drawn on as it last moved, within ``most [n]`` a step."""
    horizon = len(plan)
    executed = min(max(executed, 0), horizon - 1)
    pace = np.clip(plan[-1] - plan[-2], -most, most) if horizon > 1 else np.zeros_like(plan[0])
    beyond = np.arange(1, executed + 1)[:, None] * pace
    return np.concatenate([plan[executed:], plan[-1] + beyond])


def _within_speed(q: Floats, seed: Floats, most: Floats) -> Floats:
    """``q [n, H]``, each step within ``most [n]`` of the one before."""
    steps = np.diff(q, axis=1, prepend=seed[:, None])
    if (np.abs(steps) <= most[:, None]).all():
        return q
    result = np.empty_like(q)
    last = seed
    for step in range(q.shape[1]):
        last = last + np.clip(q[:, step] - last, -most, most)
        result[:, step] = last
    return result
