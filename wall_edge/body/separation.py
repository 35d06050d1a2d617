"""Tips of several arms kept apart: where two paths come too near, both poses wait until they part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.body.frames import Frame
from wall_edge.body.tip_speed import towards

_TINY = 1e-9
"""m"""

Points = dict[str, Sequence[float]]


class Separation:
    """At least ``least`` [m] between the tips of each of ``pairs``.

    ``frames``: of each pose in one that all share; ``speeds`` [m/s], where tips have one, bound how fast a
    pose goes on that had to wait. Tips that are too near already may only part.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, str]],
        frames: Mapping[str, Frame],
        least: float,
        speeds: Mapping[str, float],
    ) -> None:
        self._pairs, self._frames, self._least, self._speeds = pairs, frames, least, speeds

    def keep(
        self,
        positions: Mapping[str, Floats],
        rotations: Mapping[str, Floats],
        start: Mapping[str, Floats],
        dt_s: float,
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Paths ``[H, 3]`` and ``[H, 3, 3]`` by pose that keep apart; those that do are returned as they are.

        Between two steps tips go straight. A pose that only ``start`` has stands still.
        """
        horizon = len(next(iter(positions.values()), ()))
        shared = {}
        for name in {name: None for pair in self._pairs for name in pair}:
            first = self._frames[name].move(start[name][None])
            rest = self._frames[name].move(positions[name]) if name in positions else first.repeat(horizon, 0)
            shared[name] = np.concatenate((first, rest))
        if all(self._apart(shared[a] - shared[b]) for a, b in self._pairs):
            return dict(positions), dict(rotations)
        kept_positions, kept_rotations = dict(positions), dict(rotations)
        waits = self._walk(shared, {name: dt_s * speed for name, speed in self._speeds.items()})
        for name, (path, steps) in waits.items():
            if name not in positions:
                continue
            moved = (np.abs(path - shared[name][1:]) > _TINY).any(axis=1)
            kept_positions[name] = positions[name].copy()
            kept_positions[name][moved] = self._frames[name].back(path[moved])
            kept_rotations[name] = rotations[name][steps]
        return kept_positions, kept_rotations

    def _apart(self, between: Floats) -> bool:
        """Whether no step of ``between`` [H + 1, 3], from one tip to the other, comes too near."""
        begin, step = between[:-1], np.diff(between, axis=0)
        length = np.einsum("ij,ij->i", step, step)
        part = -np.einsum("ij,ij->i", begin, step) / np.where(length > 0, length, 1.0)
        nearest = begin + np.clip(part, 0, 1)[:, None] * step
        return bool((np.einsum("ij,ij->i", nearest, nearest) >= (self._least - _TINY) ** 2).all())

    def _walk(
        self, shared: Mapping[str, Floats], reach: Mapping[str, float]
    ) -> dict[str, tuple[Floats, list[int]]]:
        """Step by step: each pose's path ``[H, 3]``, and which step's rotation it has at each."""
        goals = {name: path.tolist() for name, path in shared.items()}
        at: Points = {name: path[0] for name, path in goals.items()}
        paths: dict[str, list[Sequence[float]]] = {name: [] for name in shared}
        steps: dict[str, list[int]] = {name: [] for name in shared}
        for k in range(1, len(next(iter(shared.values())))):
            then = {name: towards(at[name], goals[name][k], reach.get(name, math.inf)) for name in shared}
            waiting = self._wait(at, then)
            for name in shared:
                paths[name].append(then[name])
                steps[name].append(steps[name][-1] if name in waiting and k > 1 else k - 1)
            at = then
        return {name: (np.array(paths[name]), steps[name]) for name in shared}

    def _wait(self, at: Points, then: Points) -> set[str]:
        """Puts back in ``then`` who would come too near to another, until nobody does; their names."""
        waiting: set[str] = set()
        while near := next((pair for pair in self._pairs if self._near(pair, at, then)), None):
            waiting.update(near)
            for name in near:
                then[name] = at[name]
        return waiting

    def _near(self, pair: tuple[str, str], at: Points, then: Points) -> bool:
        """Whether on their straight ways two tips come nearer than they may, or than they are."""
        a, b = pair
        if then[a] is at[a] and then[b] is at[b]:
            return False
        x, y, z = at[a][0] - at[b][0], at[a][1] - at[b][1], at[a][2] - at[b][2]
        i, j, k = then[a][0] - then[b][0] - x, then[a][1] - then[b][1] - y, then[a][2] - then[b][2] - z
        length = i * i + j * j + k * k
        part = min(max(-(x * i + y * j + z * k) / length, 0.0), 1.0) if length > 0 else 0.0
        now = math.sqrt(x * x + y * y + z * z)
        x, y, z = x + part * i, y + part * j, z + part * k
        return math.sqrt(x * x + y * y + z * z) < min(self._least, now) - _TINY
