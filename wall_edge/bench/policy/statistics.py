"""Percentiles that are none of an outlier's: a p99 that would be the maximum is not given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wall_edge.errors import ConfigError

_RANKS = (50, 95, 99)


@dataclass(frozen=True)
class Spread:
    """Of ``n`` times [ms]; a percentile is None where so few times have none below the largest."""

    n: int
    least: float
    p50: float
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Percentiles by nearest rank. Raises :class:`ConfigError` without times."""
        if not seconds:
            raise ConfigError("no times", expected="at least one repeat")
        ordered = sorted(1e3 * value for value in seconds)
        p50, p95, p99 = (percentile(ordered, rank) for rank in _RANKS)
        return cls(len(ordered), ordered[0], ordered[-1] if p50 is None else p50, p95, p99)

    def divided(self, parts: int) -> Spread:
        """Of one of ``parts`` equal parts: the times over their number."""
        least, p50 = self.least / parts, self.p50 / parts
        p95, p99 = (None if value is None else value / parts for value in (self.p95, self.p99))
        return Spread(self.n, least, p50, p95, p99)


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """By nearest rank, of values that rise; None where that is the largest of them."""
    rank = math.ceil(len(ordered) * percent / 100)
    return None if rank >= len(ordered) else ordered[rank - 1]


def enough_for(percent: int) -> int:
    """How many times a percentile needs."""
    return next(n for n in range(1, 10_000) if percentile(range(n), percent) is not None)
