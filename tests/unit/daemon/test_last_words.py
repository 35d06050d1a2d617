"""What an independent review of the daemon's parts found: ends that were told wrongly, or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.daemon import daemon as module
from wall_edge.runtime.daemon import shutdown
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.runtime.daemon.process_table import TABLE
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import EventKind
from wall_edge.runtime.telemetry.writer.log_file import LogFile
from wall_edge.sim.worlds import open_world


@pytest.fixture
def daemon(robot: RobotConfig, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """One that has started nothing."""
    manifest = SimpleNamespace(horizon=8)
    bundle = SimpleNamespace(manifest=manifest, hold=lambda: None)
    monkeypatch.setattr(module, "Bundle", lambda _: bundle)
    monkeypatch.setattr(module, "check_match", lambda *_: None)
    monkeypatch.setattr(shutdown, "set_latch", lambda *_: None)
    return Daemon(robot, world=open_world(robot))


class Processes:
    """A servo process that has ended."""

    def __init__(self, failure: str = "") -> None:
        self._failure = failure

    def runs(self, name: str) -> bool:
        return name == "servo"

    def failure(self) -> str:
        return self._failure

    def kill(self, name: str) -> None:
        pass

    def alive(self, _: str) -> bool:
        return False

    def end(self) -> None:
        pass

    def receive(self, _: float) -> list[Any]:
        return []


def with_processes(daemon: Daemon, processes: Processes) -> None:
    daemon._supervisor = daemon._shutdown._supervisor = processes  # type: ignore[assignment]


def status(telemetry: ServoTelemetry, dof: int, **values: Any) -> None:
    telemetry.status(
        **{"time_ns": time.monotonic_ns(), "tick": 1, "epoch": 0, "touched": True, **values},
        setpoint=np.zeros(dof),
        position=np.zeros(dof),
    )


def test_a_process_that_cannot_be_started_is_no_process(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for one that runs: the stop raised, ended nothing, and limped an arm it never had."""
    released: list[str] = []
    monkeypatch.setattr(shutdown, "release_arm", lambda *_: released.append("arm") or "")

    def spawn(*_: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(daemon._supervisor._children, "spawn", spawn)
    daemon._heart.start()
    with pytest.raises(BlockingIOError):
        daemon._supervisor.start(next(row for row in TABLE if row.name == "servo"), "servo")
    assert daemon.stop() == ""
    assert released == []
    assert not daemon._heart.beats


def test_an_arm_that_the_supervisor_released_is_not_called_powered(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before it asked for torque, on an arm that was powered: both were said, off and left on."""
    monkeypatch.setattr(shutdown, "release_arm", lambda *_: "")
    with_processes(daemon, Processes())
    daemon._startup.powered = ("shoulder_pan",)
    with pytest.raises(RuntimeFault) as caught:
        daemon._leave(RuntimeFault("the servo process ended unexpectedly (exit code -9)"))
    assert "took the torque off" in str(caught.value)
    assert "left on" not in str(caught.value)


def test_a_fault_whose_reason_the_ring_lost(daemon: Daemon) -> None:
    """Thousands of events while the supervisor stood still: "error: None"."""
    telemetry = ServoTelemetry(daemon._memory.rings, 2_000_000)
    telemetry.event(EventKind.FAULT, text="overload")
    for number in range(2100):
        telemetry.event(EventKind.BUS_ERROR, values=(number,))
    status(telemetry, daemon.config.dof, state=ServoState.FAULT)
    telemetry.end()
    daemon._receive(0.0)
    assert "telemetry lost the reason" in daemon._failure()


def test_a_last_word_that_comes_while_the_exit_is_seen(daemon: Daemon) -> None:
    """A proper end was called unexpected."""
    telemetry = ServoTelemetry(daemon._memory.rings, 2_000_000)

    class Ending(Processes):
        def failure(self) -> str:
            telemetry.event(EventKind.FAULT, text="overload")
            telemetry.end()
            return "the servo process ended unexpectedly (exit code 0)"

    with_processes(daemon, Ending())
    assert daemon._failure() == "overload"


def test_the_last_status_belongs_to_the_last_word(daemon: Daemon) -> None:
    """The end was taken without the status before it when both came between two looks."""
    telemetry = ServoTelemetry(daemon._memory.rings, 2_000_000)
    take, late = daemon._servo.status.take, [True]

    def taken(*limit: int) -> Any:
        rows = take(*limit)
        while late and late.pop():
            status(telemetry, daemon.config.dof, state=ServoState.RELEASED, tick=7, served_ticks=7)
            telemetry.end()
        return rows

    daemon._servo.status.take = taken  # type: ignore[method-assign]
    daemon._receive(0.0)
    daemon._receive(0.0)
    assert (daemon.record.servo["state"], daemon.record.servo["ticks"]) == ("RELEASED", 7)


def test_a_writer_that_says_nothing_at_the_end_is_said(daemon: Daemon) -> None:
    daemon.inbox.require_log_end(logged=False)
    assert daemon.inbox.log_trouble == ""
    daemon.inbox.require_log_end(logged=True)
    assert "the event log's end is missing" in daemon.inbox.log_trouble


def test_a_log_into_a_pipe_is_opened_once(tmp_path: Path) -> None:
    """The writer opened it by name after the supervisor had closed it: its reader had left by then."""
    import os

    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = LogFile(path)
    again = LogFile(log.lasting_path())
    again.append(b"line\n")
    again.close()
    log.close()
    assert os.read(reader, 100) == b"line\n"
    os.close(reader)
