"""The figures of ``wall-edge bench loop``."""

from __future__ import annotations

from typing import Any

from wall_edge.bench.cyclictest import missed_wakeups_added, parse_histogram, percentile_us
from wall_edge.bench.processes import Load, LoopResult
from wall_edge.errors import RuntimeFault
from wall_edge.provenance import provenance
from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder

_RANKS = {"p50": 50.0, "p99": 99.0, "p999": 99.9}


def report(
    rate_hz: float, seconds: float, kind: Load, ours: LoopResult, relative: LoopResult, printed: str | None
) -> dict[str, Any]:
    """What ``--json`` prints; ``printed`` is cyclictest's output, None where it is not installed. In µs."""
    counted = None if printed is None else _histogram(printed)
    other = None if counted is None else missed_wakeups_added(counted, round(1e6 / rate_hz))
    mine, theirs, peer = _percentiles(ours.lateness), _percentiles(relative.lateness), _of_counts(other)
    return {
        "rate_hz": rate_hz,
        "ours": mine,
        "relative_sleep": theirs,
        "cyclictest": peer,
        "fifo": ours.fifo,
        "load": kind,
        "seconds": seconds,
        "ticks": ours.ticks,
        "overruns": ours.overruns,
        "skipped": ours.skipped,
        "refused": list(ours.refused),
        "relative_sleep_drift_ms": relative.drift_ns / 1e6,
        "ratio_p999_to_cyclictest": None if peer is None else mine["p999"] / max(1.0, peer["p999"]),
        "ratio_p99_relative_to_ours": theirs["p99"] / mine["p99"],
        "cyclictest_uncorrected": _of_counts(counted),
        "cyclictest_wakeups": None if counted is None else sum(counted.values()),
        "cyclictest_note": _note(printed),
        **provenance(),
    }


def _histogram(printed: str) -> dict[int, int] | None:
    try:
        return parse_histogram(printed)
    except RuntimeFault:  # the note says what it printed instead
        return None


def _note(printed: str | None) -> str:
    if printed is None:
        return "not installed (apt-get install rt-tests)"
    return "" if _histogram(printed) is not None else f"failed: {' '.join(printed.split())[:200]}"


def _percentiles(lateness: LatencyRecorder) -> dict[str, float]:
    return {name: lateness.percentile(percent) / 1e3 for name, percent in _RANKS.items()}


def _of_counts(counts: dict[int, int] | None) -> dict[str, float] | None:
    if counts is None:
        return None
    return {name: percentile_us(counts, percent) for name, percent in _RANKS.items()}
