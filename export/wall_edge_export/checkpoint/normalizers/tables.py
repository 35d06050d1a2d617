"""Statistics by robot and kind, and what several places of a checkpoint say of the same robot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.errors import CheckpointError
from wall_edge.files import shown

ACTION, PROPRI = "action", "propri"
KINDS = (ACTION, PROPRI)


@dataclass(frozen=True)
class MinDelta:
    """Upstream's statistics of one kind, ``[slots]`` or the first of them: ``2·(x - low)/delta - 1``.

    ``where``: the file and the place in it.
    """

    where: str
    low: Floats
    delta: Floats

    def differs(self, other: MinDelta) -> str:
        """Which number differs from the other's, in words; empty where all agree.

        What is beyond the shorter one must be upstream's filling (``pad_normalizer_to_dim``): min 0, delta 1.
        """
        width = max(len(self.low), len(other.low))
        for name, mine, theirs in zip(("min", "delta"), self.filled(width), other.filled(width), strict=True):
            apart = ~np.isclose(mine, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)
            if apart.any():
                slot = int(np.argmax(apart))
                return f"{name}[{slot}] is {mine[slot]:g} and {theirs[slot]:g}"
        return ""

    def filled(self, slots: int) -> tuple[Floats, Floats]:
        """Min and delta of all slots: 0 and 1 behind, as upstream fills them."""
        more = np.zeros(max(0, slots - len(self.low)))
        return np.concatenate([self.low, more]), np.concatenate([self.delta, more + 1.0])


Table = Mapping[str, MinDelta]
"""By kind."""
Robots = Mapping[str | None, Table]
"""By robot; None: of a file that names none, and so is of whoever is asked for."""


def from_vectors(where: str, named: Iterable[tuple[str, str, str, Floats]]) -> Robots:
    """Kind, statistic, robot and values → by robot. Raises :class:`CheckpointError` for half of a pair."""
    vectors: dict[str, dict[str, dict[str, Floats]]] = {}
    for kind, statistic, robot, values in named:
        vectors.setdefault(robot, {}).setdefault(kind, {})[statistic] = values
    return {
        robot: {kind: _pair(where, kind, robot, values) for kind, values in kinds.items()}
        for robot, kinds in vectors.items()
    }


def _pair(where: str, kind: str, robot: str, values: Mapping[str, Floats]) -> MinDelta:
    place = f"{where}: normalizer_{shown(kind, 20)}.*.{shown(robot, 60)}"
    if kind not in KINDS or set(values) != {"min", "delta"}:
        raise CheckpointError(
            f"{place}: {shown(', '.join(sorted(values)), 60)}", expected="min and delta, of action or propri"
        )
    low, delta = values["min"], values["delta"]
    if low.ndim != 1 or low.shape != delta.shape:
        raise CheckpointError(
            f"{place}: normaliser min of shape {list(low.shape)}, delta {list(delta.shape)}",
            expected="one axis each, of one length",
            fix="use the statistics that were saved with these weights",
        )
    return MinDelta(place, low, delta)


def agreed(places: Sequence[Robots], robot: str) -> Table:
    """The robot's statistics, of the first place that has them.

    Raises :class:`CheckpointError` naming two places that differ, or the kind that is nowhere.
    """
    table: dict[str, MinDelta] = {}
    for kind in KINDS:
        tables = [place[name] for place in places for name in (robot, None) if name in place]
        entries = [one[kind] for one in tables if kind in one]
        if not entries:
            where = next(iter(tables[0].values())).where if tables else "the checkpoint"
            raise CheckpointError(
                f"{where}: no normalizer_{kind} of {shown(robot, 60)}", expected="both kinds"
            )
        for other in entries[1:]:
            if difference := entries[0].differs(other):
                raise CheckpointError(
                    f"{entries[0].where} and {other.where} differ: {difference}",
                    expected="one set of statistics for a robot",
                    fix="remove the one that the policy was not trained with",
                )
        table[kind] = entries[0]
    return table
