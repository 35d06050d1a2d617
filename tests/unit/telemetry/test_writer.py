"""kill -9 of the servo process, the policy, the writer and the supervisor: what the log then holds.

Each process says in shared memory what it has told last, after it has told it. What the log misses of that is
what the kill cost: nothing is allowed to be missing.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.ipc.messages import Stop
from wall_edge.runtime.telemetry.event_log import event_files, read_events
from wall_edge.runtime.telemetry.ring.events import EventRing
from wall_edge.runtime.telemetry.servo.rings import BUS_COUNTERS, LIMITS, REFUSALS, ServoRings
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import EventKind
from wall_edge.runtime.telemetry.writer import LogEnd, WriterMemory, run_writer

SPAWN = multiprocessing.get_context("spawn")
NAMES = ("supervisor", "policy")
DOF, PERIOD_NS = 6, 2_000_000
ZERO: Any = np.zeros(DOF)
ZEROS: dict[str, Any] = {"setpoint": ZERO, "position": ZERO}
COUNTS: dict[str, Any] = {"refused": [0] * len(REFUSALS), "limits": [[0] * DOF] * len(LIMITS)}


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited a minute"
        time.sleep(0.005)


class Telemetry:
    """All rings of a daemon, and what its processes say they have told: ticks, events, time [ns]."""

    def __init__(self, path: Path, max_bytes: int = 1 << 25) -> None:
        self.path, self.max_bytes = path, max_bytes
        self.servo = ServoRings.of(DOF, 500.0)
        self.sources = {name: EventRing() for name in NAMES}
        self.memory = WriterMemory(self.servo, NAMES)
        self.words = {name: SPAWN.RawArray("q", 3) for name in (*NAMES, "servo")}

    def writer(self) -> tuple[Any, Connection]:
        """One that is about to be ready: the rings hold four seconds."""
        ours, theirs = SPAWN.Pipe()
        arguments = (theirs, self.servo, self.sources, self.path, self.memory, self.max_bytes)
        process = SPAWN.Process(target=run_writer, args=arguments)
        process.start()
        theirs.close()
        return process, ours

    def over(self) -> bool:
        return self.servo.status.over and all(events.ring.over for events in self.sources.values())


def servo(telemetry: Telemetry, ticks: int) -> None:
    """A servo process of 500 Hz with an event every tenth tick."""
    voice = ServoTelemetry(telemetry.servo, PERIOD_NS)
    speak(telemetry, voice, range(1, ticks + 1))
    voice.counters(time_ns=time.monotonic_ns(), bus=[ticks] * len(BUS_COUNTERS), **COUNTS)
    voice.end()


def speak(telemetry: Telemetry, voice: ServoTelemetry, ticks: Iterable[int]) -> None:
    """Its words at these ticks; before the first one it says that it is ready."""
    word = telemetry.words["servo"]
    events = word[1]
    for tick in ticks:
        if tick == 1:
            voice.event(EventKind.STATE, before=ServoState.STARTING, after=ServoState.HOLDING, text="ready")
            events = 2
        now = time.monotonic_ns()
        if tick % 10 == 0:
            voice.event(EventKind.CHUNK_REFUSED, chunk_index=tick, name="age")
            events += 1
        voice.status(
            time_ns=now,
            tick=tick,
            state=ServoState.HOLDING,
            epoch=1,
            lateness_ns=7,
            served_ticks=tick,
            **ZEROS,
        )
        if now >= voice.counters_due_ns:
            voice.counters(time_ns=now, bus=[tick] * len(BUS_COUNTERS), **COUNTS)
        word[:] = (tick, events, now)
        time.sleep(PERIOD_NS / 1e9)


def chatter(telemetry: Telemetry, name: str, count: int) -> None:
    """A process with something to say every millisecond, some of it long."""
    ring, word = telemetry.sources[name], telemetry.words[name]
    for number in range(1, count + 1):
        words = "x" * (1200 if number % 50 == 0 else 20)
        ring.write("word", number=number, words=words)
        word[:] = (number, number, time.monotonic_ns())
        time.sleep(0.001)
    ring.close()


@contextmanager
def running(*arguments: Any) -> Iterator[Any]:
    body, *rest = arguments
    process = SPAWN.Process(target=body, args=tuple(rest))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def stopped(process: Any, conn: Connection) -> LogEnd:
    """Tells the writer to end, as the supervisor does; what it said last."""
    conn.send(Stop())
    message: Any = None
    with suppress(EOFError):
        while True:
            message = conn.recv()
    process.join(60)
    assert process.exitcode == 0
    assert isinstance(message, LogEnd)
    return message


def of(events: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    return [event for event in events if event.get("source") == source]


def whole_log(telemetry: Telemetry) -> list[dict[str, Any]]:
    """All events; nothing is out of order, damaged, lost or repeated."""
    events: list[dict[str, Any]] = read_events(telemetry.path)
    times = [event["time_ns"] for event in events]
    assert times == sorted(times)
    assert not [event for event in events if event["kind"] in ("damaged", "lost")]
    for source in (*telemetry.memory.sources,):
        sequences = [event["seq"] for event in of(events, source)]
        assert sequences == sorted(set(sequences)), source
    return events


def require_words(telemetry: Telemetry, events: list[dict[str, Any]], name: str) -> None:
    """Everything that a process said it had told is there, once."""
    numbers = [event["number"] for event in of(events, name)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) - telemetry.words[name][0] in (0, 1)  # killed between the event and its word about it


def require_servo(telemetry: Telemetry, events: list[dict[str, Any]]) -> dict[str, Any]:
    """All events of the servo process up to its last tick, and its summary."""
    ticks, count, last_ns = telemetry.words["servo"]
    assert [event["seq"] for event in of(events, "servo")][:count] == list(range(1, count + 1))
    assert len(of(events, "servo")) - count in (0, 1)
    results = of(events, "servo/result")
    assert len(results) == 1
    result: dict[str, Any] = results[0]
    assert result["lost"] == 0
    assert result["result"]["ticks"] - ticks in (0, 1)
    assert result["result"]["lateness_us"]["count"] == result["result"]["ticks"]
    statuses = [event for event in events if event["kind"] == "servo_status"]
    assert statuses[-1]["time_ns"] >= last_ns
    assert statuses[-1]["tick"] == result["result"]["ticks"]
    return result


@pytest.mark.parametrize("victim", ["servo", "policy"])
def test_kill_9_of_a_process_leaves_all_that_it_told(victim: str, tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "events.jsonl")
    process, conn = telemetry.writer()
    conn.recv()  # Ready
    with (
        running(servo, telemetry, 100_000) as servo_process,
        running(chatter, telemetry, "policy", 100_000) as policy,
    ):
        until(lambda: telemetry.words["servo"][0] > 300 and telemetry.words["policy"][0] > 300)
        os.kill({"servo": servo_process, "policy": policy}[victim].pid, signal.SIGKILL)
        at_death = list(telemetry.words["policy"])
        until(lambda: telemetry.words["servo" if victim == "policy" else "policy"][2] > at_death[2] + 10**8)
    assert stopped(process, conn).lost == 0
    events = whole_log(telemetry)
    require_words(telemetry, events, "policy")
    result = require_servo(telemetry, events)
    assert not result["ended"]
    assert result["result"]["state"] == "HOLDING"


def test_kill_9_of_the_writer_again_and_again(tmp_path: Path) -> None:
    """At any point, rotations among them: its successor goes on without loss and without repetition."""
    chance = random.Random(1)
    telemetry = Telemetry(tmp_path / "events.jsonl", max_bytes=120_000)
    with (
        running(servo, telemetry, 1500),
        running(chatter, telemetry, "policy", 1500),
        running(chatter, telemetry, "supervisor", 1500),
    ):
        until(lambda: telemetry.words["servo"][0] > 0)
        for _ in range(5):
            process, conn = telemetry.writer()
            conn.recv()  # Ready
            time.sleep(chance.uniform(0.0, 0.3))
            process.kill()
            process.join()
        process, conn = telemetry.writer()
        until(telemetry.over)
    assert stopped(process, conn).lost == 0
    assert len(event_files(telemetry.path)) > 3
    events = whole_log(telemetry)
    for name in NAMES:
        require_words(telemetry, events, name)
    result = require_servo(telemetry, events)
    assert result["ended"]
    assert result["result"]["bus"]["detail"]["cycles"] == 1500
    seconds = [event["time_ns"] for event in events if event["kind"] == "servo_status"]
    assert all(b - a >= 10**9 for a, b in pairwise(seconds[:-1]))  # the last is told when all has ended


def outliving(telemetry: Telemetry, ticks: int) -> None:
    """A servo process that goes on for so many ticks after its supervisor has died."""
    parent, voice = os.getppid(), ServoTelemetry(telemetry.servo, PERIOD_NS)
    speak(telemetry, voice, itertools.takewhile(lambda _: os.getppid() == parent, itertools.count(1)))
    last = telemetry.words["servo"][0]
    speak(telemetry, voice, range(last + 1, last + 1 + ticks))
    voice.end()


def supervise(telemetry: Telemetry, pids: Any) -> None:
    """Starts everything, then talks until it is killed."""
    process, conn = telemetry.writer()
    conn.recv()
    child = SPAWN.Process(target=outliving, args=(telemetry, 100))
    child.start()
    telemetry.servo.status.assign_writer(child.pid or 0)
    pids[:] = (process.pid, child.pid)
    chatter(telemetry, "supervisor", 1_000_000)


def test_kill_9_of_the_supervisor(tmp_path: Path) -> None:
    """The writer stays until the servo process has ended, and writes its summary."""
    telemetry = Telemetry(tmp_path / "events.jsonl")
    pids = SPAWN.RawArray("q", 2)
    with running(supervise, telemetry, pids) as supervisor:
        until(lambda: telemetry.words["servo"][0] > 20 and pids[1] > 0)
        os.kill(supervisor.pid, signal.SIGKILL)
    at_death = telemetry.words["supervisor"][2]
    for pid in pids:
        until(lambda pid=pid: not alive(pid))
    events = whole_log(telemetry)
    require_words(telemetry, events, "supervisor")
    assert require_servo(telemetry, events)["ended"]
    assert of(events, "servo")[-1]["kind"] == "servo_ended"
    assert of(events, "servo")[-1]["time_ns"] > at_death


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_second_servo_process_has_a_summary_of_its_own(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "events.jsonl")
    process, conn = telemetry.writer()
    conn.recv()  # Ready
    with running(servo, telemetry, 100_000) as first:
        until(lambda: telemetry.words["servo"][0] > 20)
        os.kill(first.pid, signal.SIGKILL)
    telemetry.words["servo"][:] = (0, 0, 0)
    with running(servo, telemetry, 30) as second:
        second.join(60)
    assert stopped(process, conn).lost == 0
    results = of(whole_log(telemetry), "servo/result")
    assert [(result["seq"], result["ended"]) for result in results] == [(1, False), (2, True)]
    assert results[1]["result"]["ticks"] == 30


def test_a_path_that_does_not_open_is_said(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path)
    process, conn = telemetry.writer()
    assert conn.recv().reason.startswith(f"{tmp_path}: Is a directory")
    process.join(60)
    assert process.exitcode == 0
