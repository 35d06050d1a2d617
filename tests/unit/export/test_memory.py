"""H12: nothing that the daemon keeps grows with the time it runs."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from benchmarks.daemon.supervisor_memory import measure
from wall_edge.bundle import Bundle
from wall_edge.policies.prompts import Prompts
from wall_edge.runtime.telemetry.run_log import ChunkRecord, RunLog


def chunk(index: int) -> ChunkRecord:
    return ChunkRecord(index, 1, index, index + 1, 1, "touch it.")


def test_the_supervisor_over_many_chunks(shipped_bundle: Path, tmp_path: Path) -> None:
    """H12: through its own way of receiving, with a log. The benchmark does a day of them."""
    tracemalloc.start()
    try:
        first, last = measure(shipped_bundle, (1500, 9000), tmp_path / "events.jsonl")
    finally:
        tracemalloc.stop()
    assert last["chunks"] >= 9000
    assert last["allocated"] - first["allocated"] < 1_000_000


def test_a_record_keeps_the_newest_and_counts_all() -> None:
    """H12"""
    record = RunLog(kept=3)
    for index in range(10):
        record.add(chunk(index))
    assert [kept.index for kept in record.chunks] == [7, 8, 9]
    assert record.counts["chunks"] == 10


def test_a_demo_keeps_everything() -> None:
    record = RunLog()
    for index in range(3000):
        record.add(chunk(index))
    assert len(record.chunks) == 3000


def test_prompts_of_new_words_all_day(shipped_bundle: Path) -> None:
    """H12: 6.5 kB a new text, for ever."""
    prompts = Prompts.of(Bundle(shipped_bundle))
    first = prompts.action("touch block 0.")
    for number in range(200):
        prompts.action(f"touch block {number}.")
        assert prompts.observation() is prompts.observation()
    assert len(prompts._cache) <= 64
    again = prompts.action("touch block 0.")
    assert again.ids.tolist() == first.ids.tolist()
