"""What a run is judged by: intervals within an epoch, subgoals at the moment they were seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wall_edge.runtime.telemetry.run_log import (
    ChunkRecord,
    EpisodeRecord,
    RunLog,
    SubgoalRecord,
    chunk_intervals_ms,
    percentiles,
)
from wall_edge.runtime.telemetry.run_summary import summarise

MS = 1_000_000


def chunk(index: int, epoch: int, published_ms: int) -> ChunkRecord:
    return ChunkRecord(index, epoch, (published_ms - 20) * MS, published_ms * MS, 0, "")


def subgoal(epoch: int, seen_ms: int, text: str, switched: bool = False) -> SubgoalRecord:
    return SubgoalRecord(1, epoch, seen_ms * MS, (seen_ms + 30) * MS, text, switched)


@pytest.fixture
def record() -> RunLog:
    truths = ((100 * MS, "a."), (200 * MS, "b."))
    episodes = [
        EpisodeRecord(0, 1, "a, then b.", 100 * MS, 300 * MS, "success", truths),
        EpisodeRecord(1, 2, "c.", 400 * MS, 500 * MS, "timeout", ((400 * MS, "c."),)),
    ]
    return RunLog(episodes=episodes)


def test_the_right_subgoal_is_that_of_the_frames(record: RunLog) -> None:
    record.subgoals = [
        subgoal(1, 99, "a."),  # before the episode: not judged
        subgoal(1, 199, "a."),  # ready after the touch, but seen before it: right
        subgoal(1, 200, "a."),  # the frame already shows the touch: wrong
        subgoal(1, 300, "b."),
        subgoal(1, 301, "b."),  # after the end: not judged
        subgoal(2, 450, "b."),  # wrong
        subgoal(9, 450, "c."),  # of no episode: not judged
    ]
    judged = [(found.text, truth) for found, truth in record.judged_subgoals()]
    assert judged == [("a.", "a."), ("a.", "b."), ("b.", "b."), ("b.", "c.")]
    summary = summarise(record, Path("r"))
    assert (summary["subgoals"]["judged"], summary["subgoals"]["correct"]) == (4, 2)
    assert (summary["episodes"], summary["successes"], summary["success_rate"]) == (2, 1, 0.5)


def test_inverse_kinematics_is_summed_over_chunks() -> None:
    assert summarise(RunLog(), Path("r"))["kinematics"] == {
        "solved": 0,
        "nearest": 0,
        "held": 0,
        "p99_ms": 0.0,
    }
    chunks = [
        replace(chunk(k, 1, 100 * k), solved=60 + k, nearest=k, held=4 - k, kinematics_ms=float(k))
        for k in range(1, 4)
    ]
    kinematics = summarise(RunLog(chunks=chunks), Path("r"))["kinematics"]
    assert kinematics == {"solved": 186, "nearest": 6, "held": 6, "p99_ms": pytest.approx(2.98)}


def test_intervals_do_not_span_epochs() -> None:
    chunks = [chunk(1, 1, 100), chunk(2, 1, 190), chunk(3, 2, 900), chunk(4, 2, 1010)]
    assert chunk_intervals_ms(chunks) == [90, 110]
    assert RunLog(chunks=chunks).longest_chunk_interval_ms() == 110
    assert RunLog(chunks=chunks[:1]).longest_chunk_interval_ms() == 0


def test_percentiles() -> None:
    assert percentiles([], 50, 99) == {"p50": 0.0, "p99": 0.0}
    assert percentiles(list(range(1001)), 50, 99.9) == pytest.approx({"p50": 500.0, "p999": 999.0})


def test_an_empty_run_sums_to_nothing() -> None:
    summary = summarise(RunLog(), Path("r"))
    assert summary["success_rate"] == 0.0
    assert summary["policy"]["chunks"] == 0
    assert summary["subgoals"]["correct_rate"] == 0.0
