"""Joint positions for single poses, from anywhere: for a first posture and for checks, not for motion.

Each pose is tried from one posture, then from random ones: about one in six needs more than the first. Which
of several postures comes out is chance, so two poses side by side may get postures far apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.kinematics.aim import Aim, Poses, SolverSettings
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.newton import Postures, Targets

_ITERATIONS = 40
_BATCH = 2048
"""Poses at a time: what fits a processor's cache."""


def ranges(chain: Chain) -> tuple[Floats, Floats]:
    """Lowest and highest position of each joint ``[n]``; ±π (rad or m) where its limits are wider."""
    return np.maximum(chain.lower, -np.pi), np.minimum(chain.upper, np.pi)


def search(
    chain: Chain, poses: Poses, start: Floats, restarts: int = 100, settings: SolverSettings | None = None
) -> tuple[npt.NDArray[np.bool_], Postures]:
    """Which of B poses were reached ``[B]``, and postures with their errors; from ``start [n]`` first.

    A pose is left when it is solved, by ``settings``, or after so many restarts. The same call gives the same
    result.
    """
    aim, targets = Aim(chain, settings or SolverSettings()), Targets.of(poses.positions, poses.rotations)
    count = len(poses.positions)
    parts = [
        _searched(aim, targets.at(slice(begin, begin + _BATCH)), start, restarts)
        for begin in range(0, count, _BATCH)
    ]
    best = Postures(
        np.concatenate([part.q for part in parts], 1),
        np.concatenate([part.error_m for part in parts]),
        np.concatenate([part.error_rad for part in parts]),
    )
    return aim.solved(best), best


def _searched(aim: Aim, targets: Targets, start: Floats, restarts: int) -> Postures:
    rng, (lower, upper) = np.random.default_rng(0), ranges(aim.chain)
    best = aim.refined(np.repeat(start[:, None], targets.positions.shape[1], 1), targets, _ITERATIONS)
    for _ in range(restarts):
        left = np.flatnonzero(~aim.solved(best))
        if not len(left):
            break
        q = rng.uniform(lower[:, None], upper[:, None], (len(lower), len(left)))
        again = aim.refined(q, targets.at(left), _ITERATIONS)
        better = aim.solved(again) | (again.error_m < best.error_m[left])
        best.put(left[better], again.at(better))
    return best
