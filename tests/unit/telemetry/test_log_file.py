"""The log's file and the order of its lines: rotated, mended, found again."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wall_edge.errors import ConfigError
from wall_edge.runtime.telemetry.event_log import event_files, read_events
from wall_edge.runtime.telemetry.ring.events import EventRing
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.writer import LogWriter, WriterMemory, log_file, log_queue
from wall_edge.runtime.telemetry.writer.line import Line, line_of
from wall_edge.runtime.telemetry.writer.log_file import LogFile
from wall_edge.runtime.telemetry.writer.log_queue import LogQueue
from wall_edge.runtime.telemetry.writer.progress import SERVO_STREAMS, Progress
from wall_edge.runtime.telemetry.writer.time_order import TimeOrder

SUPERVISOR = len(SERVO_STREAMS)


def memory() -> WriterMemory:
    return WriterMemory(ServoRings.of(2, 50.0), ["supervisor"])


def line(number: int) -> bytes:
    return (
        json.dumps({"time_ns": number, "kind": "tick", "source": "supervisor", "seq": number}).encode()
        + b"\n"
    )


def numbers(path: Path) -> list[Any]:
    return [event["seq"] for event in read_events(path)]


# --- the file -----------------------------------------------------------------------------------------------


def test_it_rotates_by_size_and_is_read_in_order(tmp_path: Path) -> None:
    """H12: a bounded number of files, read oldest first."""
    path = tmp_path / "events.jsonl"
    file = LogFile(path, max_bytes=1000, files=3)
    for number in range(200):
        file.append(line(number))
    parts = event_files(path)
    assert [part.name for part in parts] == ["events.jsonl.2", "events.jsonl.1", "events.jsonl"]
    assert all(part.stat().st_size <= 1000 for part in parts)
    newest = numbers(path)
    assert newest == list(range(200 - len(newest), 200))
    assert len(newest) > 30


def test_a_gap_that_a_killed_rotation_left_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = LogFile(path, max_bytes=200, files=6)
    for number in range(20):
        file.append(line(number))
    before = numbers(path)
    path.with_name("events.jsonl.2").rename(path.with_name("events.jsonl.3"))  # killed after its first move
    file = LogFile(path, max_bytes=200, files=6)
    for number in range(20, 23):
        file.append(line(number))
    after = numbers(path)
    assert after == sorted(after)
    assert after[-3:] == [20, 21, 22]
    assert len(before) - len(after) <= 4  # what the test itself overwrote


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_successor_finds_what_was_written_and_cuts_a_torn_line(tmp_path: Path, cut: int) -> None:
    path, memo = tmp_path / "events.jsonl", memory()
    file = LogFile(path)
    file.append(line(1) + line(2))
    Progress([0, 0, 0, 2], [0, 0, 0, 2], 2).keep(memo, file.position)
    file.append(line(3) + line(4) + line(5)[:-cut])
    progress = Progress.resume(memo, LogFile(path))
    assert progress.sequence == [0, 0, 0, 4]
    assert progress.last_ns == 4
    assert numbers(path) == [1, 2, 3, 4]


def test_a_successor_looks_through_the_files_that_were_rotated_meanwhile(tmp_path: Path) -> None:
    path, memo = tmp_path / "events.jsonl", memory()
    file = LogFile(path, max_bytes=150)
    file.append(line(1))
    Progress([0, 0, 0, 1], [0, 0, 0, 1], 1).keep(memo, file.position)
    for number in range(2, 8):
        file.append(line(number))
    assert len(event_files(path)) > 2
    assert Progress.resume(memo, LogFile(path)).sequence == [0, 0, 0, 7]


def test_lines_of_an_earlier_run_are_not_taken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    LogFile(path).append(line(70) + line(71)[:20])
    progress = Progress.resume(memory(), LogFile(path))
    assert progress.sequence == [0, 0, 0, 0]
    LogFile(path).append(line(1))
    assert [event["kind"] for event in read_events(path)] == ["tick", "damaged", "tick"]


def test_a_pipe_that_nobody_reads_is_refused_at_once(tmp_path: Path) -> None:
    """A1: opening it would wait for a reader."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="expected a file that can be appended to"):
        LogFile(tmp_path / "pipe")


def test_a_file_that_cannot_be_opened_at_a_rotation_costs_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    file, opened = LogFile(path, max_bytes=200, files=4), log_file._opened
    for number in range(9):
        file.append(line(number))

    def full(_: Path) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = numbers(path)
    monkeypatch.setattr(log_file, "_opened", full)
    for _ in range(10):
        with pytest.raises(OSError, match="No space"):
            file.append(line(9))
    monkeypatch.setattr(log_file, "_opened", opened)
    file.append(line(10))
    assert numbers(path) == [*before, 10]


# --- the disk -----------------------------------------------------------------------------------------------


def put(queue: LogQueue, first: int, last: int) -> None:
    for number in range(first, last + 1):
        queue.put(number, line_of(SUPERVISOR, number, number, "tick"))


def queue_in(tmp_path: Path) -> LogQueue:
    return LogQueue(LogFile(tmp_path / "events.jsonl"), Progress([0] * 4, [0] * 4), memory())


def test_a_disk_that_hangs_costs_events_never_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A1: neither writing nor closing waits for it, and what is lost is counted."""
    hangs, writes = threading.Event(), threading.Event()
    monkeypatch.setattr(log_queue, "_WAITING", 5)
    monkeypatch.setattr(log_queue, "_CLOSE_S", 0.05)
    queue = queue_in(tmp_path)
    monkeypatch.setattr(queue._file, "append", lambda _: writes.set() or hangs.wait(20))
    put(queue, 1, 1)
    assert writes.wait(60)
    put(queue, 2, 20)
    assert queue.lost == 14  # of the others five wait
    assert queue.close() == 20
    hangs.set()


def test_a_disk_that_is_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a block goes in before it is full: no torn line stays, and the log says what it misses."""
    write, full = os.write, threading.Event()
    full.set()

    def filling(fd: int, data: bytes) -> int:
        if not full.is_set():
            return write(fd, data)
        if len(data) > 30:
            return write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_queue, "_RETRY_S", 0.001)
    monkeypatch.setattr(log_file.os, "write", filling)
    queue = queue_in(tmp_path)
    put(queue, 1, 50)
    while queue.waiting:
        pass
    assert queue.lost == 50
    full.clear()
    put(queue, 51, 60)
    assert queue.close() == 50
    events = read_events(tmp_path / "events.jsonl")
    assert events[0] == {
        "time_ns": 51,
        "kind": "lost",
        "source": "log",
        "count": 50,
        "why": "the disk: No space left on device",
    }
    assert [event["seq"] for event in events[1:]] == list(range(51, 61))


# --- the order ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100)), max_size=60),
    st.lists(st.integers(0, 120), max_size=10),
)
def test_nothing_goes_out_out_of_order(stamps: list[tuple[int, int]], marks: list[int]) -> None:
    order, out = TimeOrder(), []
    for number, (stream, time_ns) in enumerate(stamps, 1):
        order.add(Line(stream, number, time_ns, "x"))
        if marks and number % 5 == 0:
            out += list(order.due(marks.pop()))
    out += list(order.due(None))
    times = [time_ns for time_ns, _ in out]
    assert times == sorted(times)
    assert all(time_ns >= line.time_ns for time_ns, line in out)
    for stream in range(3):
        sequences = [line.sequence for _, line in out if line.stream == stream]
        assert sequences == [number for number, (k, _) in enumerate(stamps, 1) if k == stream]


def test_streams_are_merged_by_time_and_the_late_are_counted() -> None:
    order = TimeOrder()
    for stream, sequence, time_ns in ((0, 1, 10), (0, 2, 30), (1, 1, 20), (1, 2, 40)):
        order.add(Line(stream, sequence, time_ns, "x"))
    assert [line.time_ns for _, line in order.due(35)] == [10, 20, 30]
    order.add(Line(2, 1, 15, "late"))
    assert [(time_ns, line.time_ns) for time_ns, line in order.due(None)] == [(30, 15), (40, 40)]
    assert order.late == 1


# --- overflows ----------------------------------------------------------------------------------------------


def test_two_servo_processes_while_no_writer_ran(tmp_path: Path) -> None:
    """Each is summed up with all that it told, its last word too."""
    rings, path = ServoRings.of(2, 50.0), tmp_path / "events.jsonl"
    for ticks in (3, 5):
        voice = ServoTelemetry(rings, 20_000_000)
        for tick in range(1, ticks + 1):
            tell(voice, tick)
        voice.end()
    assert LogWriter(rings, {}, path, WriterMemory(rings, [])).finish().lost == 0
    results = [event for event in read_events(path) if event["kind"] == "servo_result"]
    assert [(result["ended"], result["result"]["ticks"]) for result in results] == [(True, 3), (True, 5)]


def tell(voice: ServoTelemetry, tick: int) -> None:
    zero = np.zeros(2)
    voice.status(time_ns=tick, tick=tick, state=1, epoch=1, served_ticks=tick, setpoint=zero, position=zero)


def test_what_a_ring_lost_is_a_line_of_the_log(tmp_path: Path) -> None:
    rings, ring = ServoRings.of(2, 50.0), EventRing(16)
    path = tmp_path / "events.jsonl"
    writer = LogWriter(rings, {"supervisor": ring}, path, WriterMemory(rings, ["supervisor"]))
    for number in range(1, 41):
        ring.write("tick", time_ns=number, number=number)
    assert writer.finish().lost == 0
    lost, *events = read_events(path)
    assert (lost["kind"], lost["source"], lost["count"], lost["seq"]) == ("lost", "supervisor", 24, 24)
    assert [event["number"] for event in events] == list(range(25, 41))
    assert [event["seq"] for event in events] == list(range(25, 41))
