"""kill -9 of every process of a running daemon in turn: what the event log holds then.

The rings are read here too, beside the writer: what they held is what the log must hold.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.patience import patient, patient_file
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.runtime.telemetry.event_log import read_events
from wall_edge.sim.worlds import open_world

ROBOT = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
CHUNKS = 15

Event = dict[str, Any]


def pid_of(process: str, log: Path) -> int:
    events: list[Any] = read_events(log)
    return next(int(e["pid"]) for e in reversed(events) if e["kind"] == "spawned" and e["process"] == process)


def lines(log: Path, source: str) -> list[Event]:
    """Of one source, in the order of the log, which is the order of time."""
    events: list[Any] = read_events(log)
    times = [event["time_ns"] for event in events]
    assert times == sorted(times)
    return [event for event in events if event["source"] == source]


def require_all(log: Path, source: str, newest: int) -> list[Event]:
    """Every event of the source up to number ``newest``, once."""
    events = lines(log, source)
    numbers = [int(event["seq"]) for event in events]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == newest
    assert not [event for event in read_events(log) if event["kind"] == "lost"]
    return events


@contextmanager
def working(robot: RobotConfig, bundle: Path, log: Path) -> Iterator[Daemon]:
    """A daemon that has published some chunks."""
    world = open_world(robot)
    assert world is not None
    with Daemon(replace(patient(robot), bundle=bundle), world=world, events=log) as daemon:
        world.start_episode(0)
        while len(daemon.record.chunks) < CHUNKS:
            daemon.poll()
        yield daemon


def killed(robot: RobotConfig, bundle: Path, log: Path, process: str) -> Daemon:
    """One that ended because a process of it was killed."""

    def work() -> None:
        with working(robot, bundle, log) as daemon:
            daemons.append(daemon)
            os.kill(pid_of(process, log), signal.SIGKILL)
            while True:
                daemon.poll()

    daemons: list[Daemon] = []
    with pytest.raises(RuntimeFault, match=f"{process} process ended unexpectedly"):
        work()
    return daemons[0]


def test_the_servo_process(robot: RobotConfig, shipped_bundle: Path, tmp_path: Path) -> None:
    """Its last tick is in the log, with every event before it, and a summary of it all."""
    log = tmp_path / "events.jsonl"
    daemon = killed(robot, shipped_bundle, log, "servo")
    rings = daemon._memory.rings
    require_all(log, "servo", rings.events.newest())
    last = list(rings.reader().statuses())[-1]
    statuses = lines(log, "servo/status")
    assert (statuses[-1]["seq"], statuses[-1]["tick"]) == (rings.status.newest(), last.tick)
    (result,) = lines(log, "servo/result")
    assert not result["ended"]
    assert result["result"]["ticks"] == last.served_ticks == daemon.record.servo["ticks"]


def test_the_policy_process(robot: RobotConfig, shipped_bundle: Path, tmp_path: Path) -> None:
    """Every chunk that it published, and how the arm went to rest after that."""
    log = tmp_path / "events.jsonl"
    daemon = killed(robot, shipped_bundle, log, "policy")
    chunks = [
        event
        for event in require_all(log, "policy", daemon._memory.events["policy"].ring.newest())
        if event["kind"] == "chunkrecord"
    ]
    assert [chunk["index"] for chunk in chunks][: len(daemon.record.chunks)] == [
        chunk.index for chunk in daemon.record.chunks
    ]
    assert lines(log, "servo")[-1]["kind"] == "servo_ended"


def test_the_writer(robot: RobotConfig, shipped_bundle: Path, tmp_path: Path) -> None:
    """Another goes on where it stopped: nothing is missing or there twice, and the arm never stops."""
    log = tmp_path / "events.jsonl"
    with working(robot, shipped_bundle, log) as daemon:
        for _ in range(2):
            victim = pid_of("writer", log)
            os.kill(victim, signal.SIGKILL)
            chunks = len(daemon.record.chunks)
            while len(daemon.record.chunks) < chunks + CHUNKS or pid_of("writer", log) == victim:
                daemon.poll()
    assert daemon.record.servo["state"] == "RELEASED"
    for source, events in daemon._memory.events.items():
        require_all(log, source, events.ring.newest())
    require_all(log, "servo", daemon._memory.rings.events.newest())
    assert lines(log, "servo/result")[0]["ended"]


def test_the_supervisor(shipped_bundle: Path, tmp_path: Path) -> None:
    """The writer outlives it until the servo process has brought the arm to rest, and tells that too."""
    data = patient_file(yaml.safe_load(ROBOT.read_text()))
    data["bundle"] = str(shipped_bundle)
    robot, log = tmp_path / "robot.yaml", tmp_path / "events.jsonl"
    robot.write_text(yaml.safe_dump(data))
    command = [sys.executable, "-m", "wall_edge", "run", str(robot), "--events", str(log)]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not log.exists() or sum(e["kind"] == "chunkrecord" for e in read_events(log)) < CHUNKS:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed_ns = time.monotonic_ns()
    daemon.kill()
    daemon.wait()
    while not lines(log, "servo/result"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    supervisor = [int(event["seq"]) for event in lines(log, "supervisor")]
    assert supervisor == sorted(set(supervisor))
    servo = lines(log, "servo")
    assert [b["seq"] - a["seq"] for a, b in itertools.pairwise(servo)] == [1] * (len(servo) - 1)
    # The simulated world ends with the supervisor: the servo process loses its bus or misses the heartbeat.
    end = next(event for event in servo if event.get("after") in ("STOPPING", "FAULT"))
    assert end["time_ns"] > killed_ns
    assert servo[-1]["kind"] == "servo_ended"
