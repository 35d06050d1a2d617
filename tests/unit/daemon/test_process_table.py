"""The process table is data: what docs and tests say of it is read from it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wall_edge.config import RobotConfig
from wall_edge.runtime.daemon import inbox
from wall_edge.runtime.daemon.process_table import TABLE, Death, Plant
from wall_edge.runtime.daemon.shared_memory import SharedMemory
from wall_edge.runtime.daemon.supervisor import Supervisor
from wall_edge.runtime.ipc.messages import Failure, Ready
from wall_edge.runtime.ipc.reporting import reporting
from wall_edge.runtime.telemetry.run_log import RunLog
from wall_edge.sim.worlds import open_world

ROWS = {row.name: row for row in TABLE}
ARCHITECTURE = Path(__file__).parents[3] / "docs" / "architecture.md"


def plant(robot: RobotConfig, *, simulated: bool = True, log: Path | None = None) -> Plant:
    manifest: Any = SimpleNamespace(horizon=8)
    world = open_world(robot) if simulated else None
    cameras = {n: replace(c, kind="opencv", device=i) for i, (n, c) in enumerate(robot.cameras.items())}
    config: Any = robot if simulated else SimpleNamespace(cameras=cameras)
    return Plant(
        config, SimpleNamespace(manifest=manifest), SharedMemory.of(robot, manifest), "sim", world, log=log
    )


def names(chosen: Plant) -> list[str]:
    return [name for row in TABLE for name in row.instances(chosen)]


def test_what_runs_in_simulation_and_what_on_a_real_robot(robot: RobotConfig, tmp_path: Path) -> None:
    """The arm is powered last; the writer of the log is there before anybody has something to say."""
    assert names(plant(robot)) == ["world", "policy", "servo"]
    real = ["writer", "camera face_view", "camera wrist_view", "policy", "servo"]
    assert names(plant(robot, simulated=False, log=tmp_path / "log")) == real


def test_only_what_moves_no_arm_is_started_again() -> None:
    assert [row.name for row in TABLE if row.death is Death.RESTART] == ["writer"]
    assert all((row.restarts > 0) == (row.death is Death.RESTART) for row in TABLE)


def test_the_architecture_page_has_every_row() -> None:
    page = ARCHITECTURE.read_text()
    for row in TABLE:
        assert f"| {row.name} | {row.task} | {row.when} | {row.death.value} |" in page


def idle(conn: Connection) -> None:
    """A process that says it is ready and waits for its end."""
    with reporting(conn):
        conn.send(Ready())
        conn.recv()


def test_a_reader_that_fails_does_not_end_the_robot(
    robot: RobotConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_SPARED", {"writer", "console"})
    box = inbox.Inbox(RunLog(), plant(robot), lambda *_, **__: None)
    for name in ("console", "policy"):
        box.take(name, Ready())
    box.take("console", Failure("no terminal"))
    assert (box.failure, box.log_trouble) == ("", "console: no terminal")
    box.take("policy", Failure("no graph"))
    assert box.failure == "no graph"


class TestDeath:
    """A process that nobody told to end, by its row."""

    @staticmethod
    def killed(robot: RobotConfig, name: str, restarts: int) -> tuple[Supervisor, list[dict[str, Any]]]:
        log: list[dict[str, Any]] = []
        supervisor = Supervisor(plant(robot), lambda kind, **fields: log.append({"kind": kind, **fields}))
        row = replace(ROWS[name], body=lambda _: idle, arguments=lambda *_: (), restarts=restarts)
        supervisor.start(row, name)
        assert [message for _, message in supervisor.receive(60.0)] == [Ready()]
        os.kill(log[-1]["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while supervisor.alive(name) and time.monotonic() < deadline:
            time.sleep(0.01)
        list(supervisor.receive(0.0))
        return supervisor, log

    @pytest.mark.parametrize("name", ["policy", "servo"])
    def test_of_one_that_the_arm_needs(self, robot: RobotConfig, name: str) -> None:
        supervisor, _ = self.killed(robot, name, 0)
        assert supervisor.failure() == f"the {name} process ended unexpectedly (exit code -9)"
        supervisor.end()

    def test_of_the_writer_another_takes_over(self, robot: RobotConfig) -> None:
        supervisor, log = self.killed(robot, "writer", 1)
        assert supervisor.failure() == ""
        assert [event["kind"] for event in log] == ["spawned", "restart", "spawned"]
        assert supervisor.alive("writer")
        supervisor.end()

    def test_when_that_was_tried_often_enough_the_robot_goes_on(self, robot: RobotConfig) -> None:
        supervisor, log = self.killed(robot, "writer", 0)
        assert (supervisor.failure(), len(log)) == ("", 1)
        supervisor.end()
