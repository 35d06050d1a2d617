"""H12: nothing that the daemon keeps grows with the time it runs."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from benchmarks.supervisor_memory import measure
from wall_edge.bundle import Bundle
from wall_edge.policies.prompts import Prompts
from wall_edge.runtime.telemetry import event_log as events
from wall_edge.runtime.telemetry.event_log import EventLog, event_files, read_events
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


class TestLog:
    def test_it_rotates_by_size_and_is_read_in_order(self, tmp_path: Path) -> None:
        """H12: a bounded number of files, read oldest first."""
        path = tmp_path / "events.jsonl"
        with EventLog(path, max_bytes=1000, files=3) as log:
            for number in range(200):
                log.write("tick", number=number)
        parts = event_files(path)
        assert [part.name for part in parts] == ["events.jsonl.2", "events.jsonl.1", "events.jsonl"]
        assert all(part.stat().st_size <= 1000 for part in parts)
        numbers = [event["number"] for event in read_events(path)]
        assert numbers == list(range(200 - len(numbers), 200))
        assert len(numbers) > 30

    def test_another_process_goes_on_in_the_newest_file(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        with EventLog(path, max_bytes=400) as log:
            for number in range(20):
                log.write("tick", number=number)
        with EventLog(path, rotate=False, max_bytes=400) as log:
            for number in range(20, 40):
                log.write("tick", number=number)
        assert [event["number"] for event in read_events(path)] == list(range(40))

    def test_a_disk_that_hangs_costs_events_never_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A1: neither writing nor closing waits for it, and what is lost is counted."""
        import threading

        hangs = threading.Event()
        monkeypatch.setattr(events, "_WAITING", 5)
        monkeypatch.setattr(events, "_CLOSE_S", 0.05)
        log = EventLog(tmp_path / "events.jsonl")
        monkeypatch.setattr(log, "_append", lambda _: hangs.wait(20))
        for number in range(20):
            log.write("tick", number=number)
        log.close()
        hangs.set()
        assert log.lost >= 14

    def test_a_pipe_that_nobody_reads_is_refused_at_once(self, tmp_path: Path) -> None:
        """A1: opening it would wait for a reader."""
        import os

        from wall_edge.errors import ConfigError

        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ConfigError, match="expected a file that can be appended to"):
            EventLog(tmp_path / "pipe")

    def test_what_is_no_json_ends_nothing(self, tmp_path: Path) -> None:
        """H1: no exception of bookkeeping."""
        with EventLog(tmp_path / "events.jsonl") as log:
            log.write("odd", **{"words": "\ud800", "table": {(1, 2): 3}})
            log.write("fine", words="\ud800")
        assert [event["kind"] for event in read_events(tmp_path / "events.jsonl")] == ["fine"]
