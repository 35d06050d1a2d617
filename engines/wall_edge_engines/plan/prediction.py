"""How long a policy's stages may take on a target: a floor and a likely range, from a count and ceilings.

The roofline model (Williams, Waterman and Patterson, CACM 52(4), 2009): a run takes at least as long as its
bytes cross the memory bus, and as its products are computed; the longer of the two binds. That, both
overlapping, is the floor, and at the best measured ceilings the low end of the likely range. Its high end is
at the least measured ones, with nothing overlapping. Everything here is a prediction. It counts neither
element-wise work nor launches, and takes what lies between products to stay on the chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from wall_edge.bundle import kind_of_graphs
from wall_edge.errors import ConfigError
from wall_edge_engines.build.targets.target import Target
from wall_edge_engines.plan.ceilings import BANDWIDTH, Range, ceilings
from wall_edge_engines.plan.workload import Use, Workload

Span = tuple[float, float]
_TWO_RUNS = (
    "the prefix is one run over the whole prompt; a robot makes two of it (what every prompt shares, then "
    "the words), which read its weights twice: the top of a chunk's range counts one word more for that"
)


@dataclass(frozen=True)
class StagePrediction:
    """One run of a stage. Times in ms; None where no ceiling is known."""

    bytes: int
    operations: int
    floor_ms: float | None
    likely_ms: Span | None
    bound: Literal["bandwidth", "compute"] | None
    """What the floor is made of."""


@dataclass(frozen=True)
class Prediction:
    """Of a whole policy; ``expert`` and ``word`` (the prefix for one more token) are one step, one token."""

    target: str
    integration_steps: int | None
    """Of a chunk; None of words."""
    stages: Mapping[str, StagePrediction]
    chunk_floor_ms: float | None
    chunk_ms: Span | None
    notes: tuple[str, ...]

    @property
    def chunk_rate_hz(self) -> Span | None:
        """Chunks a second, one behind the other."""
        return None if self.chunk_ms is None else (1000 / self.chunk_ms[1], 1000 / self.chunk_ms[0])


def predict(workload: Workload, target: Target, steps: int | None) -> Prediction:
    """``steps`` of integration, if it has any. Raises :class:`ConfigError` for fewer than one."""
    kind = kind_of_graphs(workload.uses)
    steps = steps if kind.integrates else None
    if kind.integrates and (steps is None or steps < 1):
        raise ConfigError(f"{steps} integration steps", expected="at least 1")
    limits = ceilings(target)
    stages = {name: _stage(use, limits) for name, use in workload.uses.items()}
    floors = {name: stage.floor_ms for name, stage in stages.items()}
    floor = None if None in floors.values() else _chunk({n: f or 0.0 for n, f in floors.items()}, steps, 1)
    return Prediction(
        target=target.name,
        integration_steps=steps,
        stages=stages,
        chunk_floor_ms=floor,
        chunk_ms=_chunk_range(stages, steps, kind.generated_tokens),
        notes=_notes(workload, limits),
    )


def _stage(use: Use, limits: Mapping[str, Range]) -> StagePrediction:
    memory = _seconds(use.bytes, limits[BANDWIDTH])
    if memory is None:
        return StagePrediction(use.bytes, sum(use.operations.values()), None, None, None)
    products = [0.0, 0.0, 0.0]
    for arithmetic, count in use.operations.items():
        for number, seconds in enumerate(_seconds(count, limits[arithmetic]) or ()):
            products[number] += seconds
    floor, low = (1000 * max(memory[number], products[number]) for number in (0, 1))
    high = 1000 * (memory[2] + products[2])
    bound: Literal["bandwidth", "compute"] = "compute" if products[0] > memory[0] else "bandwidth"
    return StagePrediction(use.bytes, sum(use.operations.values()), floor, (low, high), bound)


def _seconds(count: int, limit: Range) -> tuple[float, float, float] | None:
    """At the ceiling, at the most and at the least that is reached."""
    if limit.most is None or limit.high is None or limit.low is None:
        return None
    return count / limit.most, count / limit.high, count / limit.low


def _chunk(stages: Mapping[str, float], steps: int | None, tokens: int) -> float:
    """Of one action chunk: ``steps`` of the expert where it is integrated, else ``tokens`` in words."""
    encoded = stages["vision"] + stages["prefix"]
    if steps is not None:
        return encoded + steps * stages["expert"]
    return encoded + tokens * (stages["word"] + stages["lm_head"])


def prompt_span(prefix: Span, word: Span) -> Span:
    """Likely time of a prompt [ms], of the likely times of one run over it and of one more token's.

    A robot's policy caches what every prompt shares first and the words behind it in a second run, which
    reads the weights again. That takes longer than one run by no more than the reading, which one more token
    takes too.
    """
    return prefix[0], prefix[1] + word[1]


def _chunk_range(stages: Mapping[str, StagePrediction], steps: int | None, most_tokens: int) -> Span | None:
    spans = {name: stage.likely_ms for name, stage in stages.items() if stage.likely_ms is not None}
    if len(spans) < len(stages):
        return None
    spans["prefix"] = prompt_span(spans["prefix"], spans["word"])
    low, high = ({name: span[end] for name, span in spans.items()} for end in (0, 1))
    return _chunk(low, steps, 1), _chunk(high, steps, most_tokens)


def _notes(workload: Workload, limits: Mapping[str, Range]) -> tuple[str, ...]:
    used = {name for use in workload.uses.values() for name, count in use.operations.items() if count}
    names = [BANDWIDTH, *sorted({"bf16" if name == "fp16" else name for name in used})]
    notes = []
    for name in names:
        limit = limits[name]
        lost = limit.most is None and name != BANDWIDTH
        notes.append(f"{limit.note}; its products are left out" if lost else limit.note)
    notes.append(_TWO_RUNS)
    kind = kind_of_graphs(workload.uses)
    if not kind.integrates:
        words = f"from 1 to {kind.generated_tokens} of them, one word and lm_head each"
        notes.append(f"a {kind.title} chunk is words: {words}")
    return tuple(filter(None, notes))
