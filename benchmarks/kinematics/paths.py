"""Paths of poses that an arm can follow, of the kinds that make inverse kinematics jump."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from wall_edge.kinematics.aim import Poses
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.rotations import from_matrix, to_matrix
from wall_edge.kinematics.search import ranges

Floats = npt.NDArray[np.float64]
KINDS = ("pi", "singular", "limits")
STEPS = 80
DT = 1 / 30
_WIDEST = 1.2
"""rad, m: how far a joint goes on a path."""


@dataclass(frozen=True, eq=False)
class Path:
    """``poses`` of :data:`STEPS` steps; ``seed [n]`` is the posture one step before the first."""

    kind: str
    seed: Floats
    poses: Poses


def paths(chain: Chain, kind: str, rng: np.random.Generator) -> Iterator[Path]:
    """Poses of smooth joint motions: each has a way of being followed from its seed.

    ``pi``: roll, pitch and yaw jump from π to −π on the way, and the poses went through them. ``singular``:
    the motion passes a posture of little dexterity: one in a hundred has less. ``limits``: a joint or
    more rest at a limit for a part of the way.
    """
    tests: dict[str, Callable[[Floats, Floats], bool]] = {
        "pi": _crosses,
        "singular": _singular(chain, rng),
        "limits": partial(_rests, chain),
    }
    while True:
        q = _motion(chain, rng, beyond=kind == "limits")
        positions, rotations = chain.forward(q)
        if tests[kind](q, rotations):
            rotations = to_matrix("rpy", from_matrix("rpy", rotations))
            yield Path(kind, q[0], Poses(positions[1:], rotations[1:]))


def _motion(chain: Chain, rng: np.random.Generator, beyond: bool) -> Floats:
    """``[STEPS + 1, n]``: from one posture to another in minimum jerk, with a slow wave on top."""
    lower, upper = ranges(chain)
    start = rng.uniform(lower, upper)
    end = start + rng.uniform(-_WIDEST, _WIDEST, len(start))
    time = np.linspace(0, 1, STEPS + 1)[:, None]
    along = time**3 * (10 - 15 * time + 6 * time**2)
    wave = rng.uniform(-0.15, 0.15, len(start)) * np.sin(2 * np.pi * time) ** 2
    q = start + along * (end - start) + wave
    if beyond:
        return np.asarray(np.clip(q, chain.lower, chain.upper))
    margin = 0.05 * (upper - lower)
    inside = bool((q > lower + margin).all() and (q < upper - margin).all())
    return np.asarray(q) if inside else _motion(chain, rng, beyond)


def _crosses(_q: Floats, rotations: Floats) -> bool:
    return bool((np.abs(np.diff(from_matrix("rpy", rotations), axis=0)) > np.pi).any())


def _rests(chain: Chain, q: Floats, _: Floats) -> bool:
    at = (q <= chain.lower) | (q >= chain.upper)
    return bool((at.sum(0) >= STEPS // 8).any() and at.all(0).sum() < len(chain.joints) - 2)


def _singular(chain: Chain, rng: np.random.Generator) -> Callable[[Floats, Floats], bool]:
    lower, upper = ranges(chain)
    bound = np.quantile(dexterity(chain, rng.uniform(lower, upper, (2000, len(chain.joints)))), 0.01)
    return lambda q, _: bool(dexterity(chain, q).min() < bound)


def dexterity(chain: Chain, q: Floats) -> Floats:
    """Smallest singular value of the Jacobian, 0.2 m a radian; of the position's below six joints."""
    jacobian = chain.jacobian(q)
    jacobian[:, 3:] *= 0.2
    rows = 6 if len(chain.joints) >= 6 else 3
    return np.asarray(np.linalg.svd(jacobian[:, :rows], compute_uv=False)[:, -1])
