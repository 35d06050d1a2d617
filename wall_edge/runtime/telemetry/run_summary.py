"""A run in one object: what ``wall-edge demo --json`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from wall_edge.runtime.telemetry.run_log import RunLog, chunk_intervals_ms, percentiles


class Summary(TypedDict):
    """Rates in Hz, lateness in µs, latencies and intervals in ms."""

    episodes: int
    successes: int
    success_rate: float
    servo: dict[str, Any]
    policy: dict[str, Any]
    subgoals: dict[str, Any]
    kinematics: dict[str, Any]
    bus: dict[str, Any]
    workspace: dict[str, Any]
    report: str


def summarise(record: RunLog, report: Path) -> Summary:
    """Count and measure; a subgoal is right when its words are the referee's for the moment it was seen."""
    correct, judged = record.subgoal_score()
    successes = sum(episode.status == "success" for episode in record.episodes)
    servo = record.servo
    lateness = servo.get("lateness_us", {})
    intervals, longest = (
        percentiles(chunk_intervals_ms(record.chunks), 50, 99),
        record.longest_chunk_interval_ms(),
    )
    return Summary(
        episodes=len(record.episodes),
        successes=successes,
        success_rate=successes / len(record.episodes) if record.episodes else 0.0,
        servo={
            "rate_hz": servo.get("rate_hz", 0.0),
            "lateness_us": {key: lateness.get(key) for key in ("p50", "p99", "p999")},
            "pickup_us": {key: servo.get("pickup_us", {}).get(key) for key in ("p50", "p99", "max")},
            "starved_ticks": servo.get("starved_ticks", 0),
            "overruns": servo.get("overruns", 0),
            "skipped": servo.get("skipped", 0),
            "waiting_ticks": servo.get("waiting_ticks", 0),
        },
        policy={
            "chunks": len(record.chunks),
            "latency_ms": percentiles([chunk.latency_ms for chunk in record.chunks], 50, 99),
            "interval_ms": intervals,
            "longest_over_usual": longest / intervals["p50"] if intervals["p50"] else 0.0,
            "refused": dict(record.refused),
        },
        subgoals={
            "generated": len(record.subgoals),
            "switches": sum(subgoal.switched for subgoal in record.subgoals),
            "latency_ms": percentiles([subgoal.latency_ms for subgoal in record.subgoals], 50, 99),
            "longest_chunk_interval_ms": longest,
            "judged": judged,
            "correct": correct,
            "correct_rate": correct / judged if judged else 0.0,
        },
        kinematics={
            "solved": sum(chunk.solved for chunk in record.chunks),
            "nearest": sum(chunk.nearest for chunk in record.chunks),
            "held": sum(chunk.held for chunk in record.chunks),
            "p99_ms": percentiles([chunk.kinematics_ms for chunk in record.chunks], 99)["p99"],
        },
        bus=servo.get("bus", {"cycles_hz": 0.0, "errors": 0}),
        workspace=servo.get("workspace", {"stops": 0}),
        report=str(report),
    )
