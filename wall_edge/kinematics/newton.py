"""Joint positions that bring a tip nearer to its poses: damped Gauss and Newton, many postures at once.

The error is ``[Δp; weight · log(R* Rᵀ)]``. Damping is half its square plus 1e-6 (Sugihara,
"Solvability-unconcerned inverse kinematics by the Levenberg–Marquardt method", 2011), so that singular
postures stand still instead of jumping. Joints that are at a limit and would leave it are taken out of the
step (an active set); clamping alone leaves 7 joints short of poses that they reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.kinematics.chain import Chain, Motion

CLOSE_M, CLOSE_RAD = 1e-5, 1e-4
"""Where iterations end."""
_DAMPING = 1e-6
_LONGEST_STEP = 0.5
"""rad or m, of any joint in one iteration."""
_STALLED = 1e-5
"""rad or m: a posture that moves by less has arrived, or gets no nearer."""
_FARTHEST = 0.3
"""m: a pose farther away is approached as if it were here, or damping would hold the arm where it is."""
Which: TypeAlias = slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Targets:
    """Poses of a tip: ``positions [3, B]`` and ``columns [3, 3, B]`` of rotations, as in :class:`Motion`."""

    positions: Floats
    columns: Floats

    @staticmethod
    def of(positions: Floats, rotations: Floats) -> Targets:
        """Of ``positions [B, 3]`` and ``rotations [B, 3, 3]``."""
        return Targets(np.ascontiguousarray(positions.T), np.ascontiguousarray(rotations.transpose(2, 1, 0)))

    def at(self, which: Which) -> Targets:
        """Some of them."""
        return Targets(self.positions[:, which], self.columns[:, :, which])


@dataclass(frozen=True, eq=False)
class Postures:
    """``q [n, B]`` and how far the tip is from its targets: m ``[B]``, rad ``[B]``."""

    q: Floats
    error_m: Floats
    error_rad: Floats

    def at(self, which: Which) -> Postures:
        """Some of them."""
        return Postures(self.q[:, which], self.error_m[which], self.error_rad[which])

    def put(self, which: Which, other: Postures) -> None:
        """Others in the place of some."""
        self.q[:, which], self.error_m[which], self.error_rad[which] = other.q, other.error_m, other.error_rad


def refined(
    chain: Chain, q: Floats, targets: Targets, weight: float, iterations: int, deadline: float = np.inf
) -> Postures:
    """``q [n, B]`` after at most so many iterations; fewer where a tip is close or ``perf_counter`` says so.

    ``weight`` (m/rad) is what a radian counts; 0: positions alone.
    """
    result = Postures(q.copy(), np.empty(q.shape[1]), np.empty(q.shape[1]))
    places, now, care = np.arange(q.shape[1]), _State.at(chain, q, targets, weight), np.ones(q.shape[1])
    for _ in range(iterations):
        result.put(places, now.postures)
        moving = now.far & (perf_counter() < deadline)
        step = _step(chain, now, care) if moving.any() else np.zeros_like(now.postures.q)
        moving &= np.abs(step).max(0) > _STALLED
        if not moving.any():
            return result
        if not moving.all():
            places, now, care, step = places[moving], now.some(moving), care[moving], step[:, moving]
            targets = targets.at(moving)
        q = np.clip(now.postures.q + step, chain.lower[:, None], chain.upper[:, None])
        after = _State.at(chain, q, targets, weight)
        worse = (after.cost > now.cost) & (q == now.postures.q + step).all(0)
        care = np.where(worse, care * 10, np.maximum(care / 3, 1))
        now = after.but(worse, now) if worse.any() else after
    result.put(places, now.postures)
    return result


@dataclass(frozen=True, eq=False)
class _State:
    """Postures, their errors as the solver weighs them ``[rows, B]``, and the slopes ``[rows, n, B]``."""

    postures: Postures
    error: Floats
    jacobian: Floats
    cost: Floats
    far: npt.NDArray[np.bool_]

    @staticmethod
    def at(chain: Chain, q: Floats, targets: Targets, weight: float) -> _State:
        motion = chain.motion(q)
        off, turn = targets.positions - motion.tip, turn_to(motion, targets)
        error_m, error_rad = _lengths(off), _lengths(turn)
        far = (error_m >= CLOSE_M) | ((error_rad >= CLOSE_RAD) & (weight != 0))
        off = off * np.minimum(1, _FARTHEST / np.maximum(error_m, 1e-12))
        jacobian = chain.jacobian_of(motion)
        jacobian[3:] *= weight
        rows = 6 if weight else 3
        error = np.concatenate([off, weight * turn])[:rows]
        cost = error_m**2 + (weight * error_rad) ** 2
        return _State(Postures(q, error_m, error_rad), error, jacobian[:rows], cost, far)

    def some(self, which: Which) -> _State:
        """Some of them."""
        j = self.jacobian[..., which]
        return _State(self.postures.at(which), self.error[:, which], j, self.cost[which], self.far[which])

    def but(self, which: Which, other: _State) -> _State:
        """Others in the place of some."""
        self.postures.put(which, other.postures.at(which))
        for mine, theirs in zip(
            (self.error, self.jacobian, self.cost, self.far),
            (other.error, other.jacobian, other.cost, other.far),
            strict=True,
        ):
            mine[..., which] = theirs[..., which]
        return self


def compared(chain: Chain, q: Floats, targets: Targets) -> Postures:
    """``q [n, B]`` with how far they are from their targets."""
    motion = chain.motion(q)
    return Postures(q, _lengths(targets.positions - motion.tip), _lengths(turn_to(motion, targets)))


def turn_to(motion: Motion, targets: Targets) -> Floats:
    """log(R* Rᵀ) ``[3, B]``, where each turn is less than π; at π an axis that is not exact."""
    a, b = motion.columns, targets.columns
    around, about = np.concatenate([a, a[:, :2]], 1), np.concatenate([b, b[:, :2]], 1)
    sine = 0.5 * (around[:, 1:4] * about[:, 2:5] - around[:, 2:5] * about[:, 1:4]).sum(0)
    cosine = 0.5 * (np.einsum("kib,kib->b", a, b) - 1)
    length = _lengths(sine)
    flipped = (length < 1e-6) & (cosine < 0)
    if flipped.any():  # half a turn, about whichever axis comes first
        sine[:, flipped], length[flipped] = a[0][:, flipped], 1.0
    result: Floats = sine * (
        np.where(flipped, np.pi, np.arctan2(length, cosine)) / np.maximum(length, 1e-300)
    )
    return result


def _step(chain: Chain, state: _State, care: Floats) -> Floats:
    q, error = state.postures.q, state.error
    slope = (state.jacobian * error[:, None]).sum(0)
    low, high = q <= chain.lower[:, None], q >= chain.upper[:, None]
    j = (state.jacobian * ~((low & (slope < 0)) | (high & (slope > 0)))).transpose(2, 0, 1)
    damping = care * (0.5 * (error * error).sum(0) + _DAMPING)
    square = j @ j.transpose(0, 2, 1) + damping[:, None, None] * np.eye(len(error))
    step = (j.transpose(0, 2, 1) @ np.linalg.solve(square, error.T[:, :, None]))[:, :, 0].T
    return np.asarray(step * np.minimum(1, _LONGEST_STEP / np.maximum(np.abs(step).max(0), 1e-12)))


def _lengths(vectors: Floats) -> Floats:
    return np.asarray(np.sqrt((vectors * vectors).sum(0)))
