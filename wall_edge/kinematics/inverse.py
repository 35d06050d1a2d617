"""A chunk of poses becomes a chunk of joint positions: continuous, within limits and speeds, in bounded time.

1. Warm: all steps at once, from the plan that the last chunk left.
2. Where that leaves a step too large: again from the present posture, a block of steps after the other, each
   from where the one before was heading. No step is ever started anew elsewhere: that would change branch.
3. What speeds do not allow is clipped, step by step; then the poses that result are computed and compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.aim import Aim, Poses, SolverSettings
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.newton import Postures, Targets, compared

_ITERATIONS = 12
_BLOCK = 10
"""Steps that start from one heading: more jump near singularities, fewer take longer."""
_FIRST_BLOCK = 2
"""Before it there is no heading."""
_UNTIL = 0.8
"""Of the cap, after which no iteration begins: the last one, and what follows it, take time too."""
_STANDS_OUT = 0.02
"""rad or m beyond twice the median step."""


@dataclass(frozen=True, eq=False)
class Solution:
    """``positions [H, n]``; which of them are at their poses ``[H]``, and how far off, m and rad ``[H]``.

    With fewer than six joints ``solved`` is about the position alone. ``cold``: there was no plan before, or
    it was of no use. ``capped``: time ran out before the iterations did.
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
        self._aim = Aim(chain, self.settings)

    def solve(self, poses: Poses, seed: Floats, dt: float, previous: Floats | None = None) -> Solution:
        """Joint positions ``[H, n]`` for a chunk of poses, ``dt`` seconds apart.

        ``seed [n]`` is the posture one ``dt`` before the first pose: no step is faster than the chain's
        ``velocity``, the first included. ``previous [H, n]`` is what was planned for the same steps, see
        :func:`shifted`. A seed beyond a limit is led back at that speed.

        Raises:
            KinematicsError: for what is not finite, for shapes that do not fit, and for ``dt`` of 0 or less.
        """
        start = perf_counter()
        self._require(poses, seed, dt, previous)
        deadline = start + _UNTIL * self.settings.cap_s
        targets, most = Targets.of(poses.positions, poses.rotations), self.chain.velocity * dt
        first = np.clip(seed, self.chain.lower, self.chain.upper)
        best, cold = self._best(targets, previous, first, most, deadline)
        capped = perf_counter() > deadline
        final = compared(self.chain, _within_speed(best.q, np.asarray(seed, np.float64), most), targets)
        return Solution(
            np.ascontiguousarray(final.q.T),
            self._aim.solved(final),
            final.error_m,
            final.error_rad,
            cold,
            capped,
            perf_counter() - start,
        )

    def _best(
        self, targets: Targets, previous: Floats | None, first: Floats, most: Floats, deadline: float
    ) -> tuple[Postures, bool]:
        """Postures, and whether they come from the present one alone."""
        if previous is None:
            return self._cold(targets, first, most, deadline), True
        warm = self._aim.refined(self._within(previous.T), targets, _ITERATIONS, deadline)
        if _smooth(warm.q, first, most):
            return warm, False
        cold = self._cold(targets, first, most, deadline)
        better = self._rank(cold, first, most) < self._rank(warm, first, most)
        return (cold, True) if better else (warm, False)

    def _cold(self, targets: Targets, first: Floats, most: Floats, deadline: float) -> Postures:
        """From the present posture alone; where time runs out the arm stays."""
        horizon = targets.positions.shape[1]
        unknown = np.full(horizon, np.inf)
        result = Postures(np.repeat(first[:, None], horizon, 1), unknown, unknown.copy())
        last, pace = first, np.zeros_like(first)
        for start, end in pairwise((0, *range(_FIRST_BLOCK, horizon, _BLOCK), horizon)):
            if perf_counter() > deadline:
                result.q[:, start:] = last[:, None]
                break
            ahead = self._within(last[:, None] + pace[:, None] * np.arange(1, end - start + 1))
            block = self._aim.refined(ahead, targets.at(slice(start, end)), _ITERATIONS, deadline)
            result.put(slice(start, end), block)
            if perf_counter() > deadline and not (solved := self._aim.solved(block)).all():
                # A heading that was not corrected leads anywhere.
                late = start + int(np.argmin(solved))
                result.q[:, late:] = (result.q[:, late - 1] if late else first)[:, None]
                result.error_m[late:] = result.error_rad[late:] = np.inf
                break
            before = block.q[:, -2] if end - start > 1 else last
            last = block.q[:, -1]
            pace = np.clip(last - before, -most, most)
        return result

    def _within(self, q: Floats) -> Floats:
        return np.asarray(np.clip(q, self.chain.lower[:, None], self.chain.upper[:, None]))

    def _rank(self, postures: Postures, first: Floats, most: Floats) -> tuple[int, float]:
        """The less the better: steps that miss their poses, then the largest step."""
        missed = len(postures.error_m) - int(self._aim.solved(postures).sum())
        return missed, float((_steps(postures.q, first) / np.maximum(most, 1e-12)[:, None]).max())

    def _require(self, poses: Poses, seed: Floats, dt: float, previous: Floats | None) -> None:
        horizon, count = len(poses.positions), len(self.chain.joints)
        if not 0 < dt < np.inf:
            raise KinematicsError(f"dt {dt:.6g}", expected="more than 0 s")
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
                raise KinematicsError(f"{name} with NaN or infinite values", expected="finite ones")


def shifted(plan: Floats, executed: int, most: Floats) -> Floats:
    """A plan ``[H, n]`` less the steps executed, drawn on as it last moved, within ``most [n]`` a step."""
    executed = min(max(executed, 0), len(plan) - 1)
    pace = np.clip(plan[-1] - plan[-2], -most, most) if len(plan) > 1 else np.zeros_like(plan[0])
    beyond = np.arange(1, executed + 1)[:, None] * pace
    return np.concatenate([plan[executed:], plan[-1] + beyond])


def _smooth(q: Floats, first: Floats, most: Floats) -> bool:
    """Whether no step is faster than allowed, or stands out from the others: a change of branch does."""
    steps = _steps(q, first)
    largest = steps.max(0)
    return bool((steps <= most[:, None]).all() and largest.max() <= 2 * np.median(largest) + _STANDS_OUT)


def _steps(q: Floats, first: Floats) -> Floats:
    return np.asarray(np.abs(np.diff(q, axis=1, prepend=first[:, None])))


def _within_speed(q: Floats, seed: Floats, most: Floats) -> Floats:
    """``q [n, H]``, each step within ``most [n]`` of the one before."""
    if (_steps(q, seed) <= most[:, None]).all():
        return q
    result, last = np.empty_like(q), seed
    for step in range(q.shape[1]):
        last = last + np.clip(q[:, step] - last, -most, most)
        result[:, step] = last
    return result
