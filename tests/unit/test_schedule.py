"""Chunks on the time axis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wall_edge.runtime.records import chunk_dtype
from wall_edge.runtime.schedule import Chunk, ChunkTrack, Refusal

MS = 1_000_000
T0 = 1_000_000 * MS
STEPS = np.array([[0.0, 10.0], [1.0, 20.0], [3.0, 0.0]])
CHUNK = Chunk(index=1, observation_time_ns=T0, dt_ns=100 * MS, epoch=4, positions=STEPS)


def track(chunk: Chunk | None = CHUNK) -> ChunkTrack:
    made = ChunkTrack(dof=2, max_age_ns=1000 * MS)
    made.start_epoch(4)
    if chunk is not None:
        assert made.offer(chunk, T0) is None
    return made


@pytest.mark.parametrize(
    ("ms", "expected", "status"),
    [
        (-1, [0, 10], "early"),
        (0, [0, 10], "following"),
        (25, [0.25, 12.5], "following"),
        (100, [1, 20], "following"),
        (150, [2, 10], "following"),
        (200, [3, 0], "following"),
        (200.000001, [3, 0], "ended"),
        (100_000, [3, 0], "ended"),
    ],
)
def test_steps_are_due_by_observation_time(ms: float, expected: list[float], status: str) -> None:
    positions, got = track().setpoint(T0 + round(ms * MS))
    np.testing.assert_allclose(positions, expected, atol=1e-12)
    assert got == status


def test_without_a_chunk() -> None:
    assert track(None).setpoint(T0)[1] == "empty"


def test_a_new_epoch_forgets() -> None:
    made = track()
    made.start_epoch(5)
    assert made.setpoint(T0)[1] == "empty"
    assert made.offer(CHUNK, T0) == "epoch"
    assert made.offer(replace(CHUNK, epoch=5, index=0), T0) is None


@pytest.mark.parametrize(
    ("change", "now", "reason"),
    [
        ({"epoch": 3}, 0, "epoch"),
        ({"index": 1}, 0, "order"),
        ({"index": 0}, 0, "order"),
        ({"observation_time_ns": T0 - 1}, 0, "order"),
        ({"observation_time_ns": T0 + 1}, 0, "future"),
        ({}, 1000 * MS + 1, "age"),
        ({"dt_ns": 0}, 0, "shape"),
        ({"positions": STEPS[:0]}, 0, "shape"),
        ({"positions": STEPS[:, :1]}, 0, "shape"),
        ({"positions": STEPS[0]}, 0, "shape"),
        ({"positions": STEPS * np.nan}, 0, "nan"),
        ({"positions": STEPS + np.inf}, 0, "nan"),
    ],
)
def test_refusals_are_counted_and_change_nothing(
    change: dict[str, object], now: int, reason: Refusal
) -> None:
    made = track()
    offered: Chunk = replace(CHUNK, **{"index": 2, **change})  # type: ignore[arg-type]
    assert made.offer(offered, T0 + now) == reason
    assert made.refused[reason] == sum(made.refused.values()) == 1
    assert made.chunk is not None
    assert made.chunk.index == 1
    assert made.taken == 1


def test_the_oldest_chunk_that_still_counts() -> None:
    assert track(None).offer(CHUNK, T0 + 1000 * MS) is None


def test_what_is_taken_is_a_copy() -> None:
    steps = STEPS.copy()
    made = track(replace(CHUNK, positions=steps))
    steps[:] = 99
    assert made.setpoint(T0)[0].tolist() == [0, 10]


def test_records_there_and_back() -> None:
    record = np.zeros(1, chunk_dtype(horizon=5, dof=2))[0]
    CHUNK.fill(record)
    back = Chunk.of(record)
    assert replace(back, positions=STEPS) == replace(CHUNK, positions=STEPS)
    np.testing.assert_array_equal(back.positions, STEPS)
    for length, reason in ((0, "shape"), (-3, "shape")):
        record["length"], record["index"] = length, 9
        assert track().offer(Chunk.of(record), T0) == reason
