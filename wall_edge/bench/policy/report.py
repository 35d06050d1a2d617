"""The figures of ``wall-edge bench policy``, and what must stand beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wall_edge.bench.policy.floors import Floor
from wall_edge.bench.policy.memory import Memory
from wall_edge.bench.policy.power import Draw
from wall_edge.bench.policy.statistics import Spread, enough_for
from wall_edge.board import Facts


@dataclass(frozen=True)
class Row:
    """One thing that was timed. Times in ms."""

    spread: Spread
    timed: str
    """From where to where, and where it waits for the device."""
    floor: Floor | None = None
    """Predicted."""

    @property
    def over_floor(self) -> float | None:
        """The median over the predicted floor."""
        return (
            None if self.floor is None or self.floor.floor_ms <= 0 else self.spread.p50 / self.floor.floor_ms
        )

    @property
    def as_predicted(self) -> bool | None:
        """Whether the median lies in the predicted range."""
        if self.floor is None:
            return None
        low, high = self.floor.likely_ms
        return low <= self.spread.p50 <= high

    def as_dict(self) -> dict[str, Any]:
        floor = self.floor
        return {
            "ms": asdict(self.spread),
            "timed": self.timed,
            "predicted_floor_ms": None if floor is None else floor.floor_ms,
            "predicted_ms": None if floor is None else list(floor.likely_ms),
            "over_floor": self.over_floor,
            "as_predicted": self.as_predicted,
        }


@dataclass(frozen=True)
class WarmUp:
    """What came before anything was timed: it is in no row."""

    load_s: float
    """The engine, from a checked bundle to graphs that are ready."""
    first_chunk_ms: float
    """From the first chunk to the last of ``chunks``: what a graph's first run costs is in it."""
    chunks: int


@dataclass(frozen=True)
class Attention:
    """Whether it is one kernel, by graph of a TensorRT engine; else why nothing tells."""

    graphs: Mapping[str, Mapping[str, Any]]
    note: str


@dataclass(frozen=True)
class Prediction:
    """For a target, by row; without one, ``notes`` say why."""

    target: str | None
    floors: Mapping[str, Floor]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PolicyReport:
    """One run."""

    not_comparable_because: tuple[str, ...]
    rows: Mapping[str, Row]
    warm_up: WarmUp
    memory: Memory
    power: Mapping[str, Draw]
    power_note: str
    """Why ``power`` is empty."""
    attention: Attention
    prediction: Prediction
    setup: Mapping[str, Any]
    """Bundle, recipe, engine, cameras, prompt, steps: what was measured."""
    board: Facts
    busy_cores: float | None
    notes: tuple[str, ...]
    provenance: Mapping[str, str]

    @property
    def comparable(self) -> bool:
        """Whether the figures may stand beside others."""
        return not self.not_comparable_because

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "comparable": self.comparable,
            "not_comparable_because": list(self.not_comparable_because),
            "rows": {name: row.as_dict() for name, row in self.rows.items()},
            "warm_up": asdict(self.warm_up),
            "memory_bytes": asdict(self.memory),
            "power": {rail: asdict(draw) for rail, draw in self.power.items()} or None,
            "power_note": self.power_note,
            "attention": dict(self.attention.graphs) or None,
            "attention_note": self.attention.note,
            "predicted_for": self.prediction.target,
            "prediction_notes": list(self.prediction.notes),
            **self.setup,
            "board": asdict(self.board) if self.board.is_jetson else None,
            "busy_cores": self.busy_cores,
            "notes": list(self.notes),
            **self.provenance,
        }


def missing_percentiles(rows: Mapping[str, Row]) -> list[str]:
    """What is said where a percentile would be the largest time."""
    few = min((row.spread.n for row in rows.values()), default=0)
    return [
        f"no p{percent} of {few} times, it would be the largest: take --repeats {enough_for(percent)}"
        for percent in (95, 99)
        if 0 < few < enough_for(percent)
    ]
