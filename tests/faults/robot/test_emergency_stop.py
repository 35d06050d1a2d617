"""Rows A1, A2, A13, H15: stops that depend on no terminal, log or poll, by whatever road a signal comes."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import serving_port

from benchmarks.daemon.emergency_stop import Robot, one_try
from tests.machines.powered_arm import servos_of
from wall_edge.config import RobotConfig
from wall_edge.runtime.telemetry.event_log import read_events
from wall_edge.signals import ENDING_SIGNALS

pytestmark = pytest.mark.realtime
MOST_MS, TRIES = 200, 3
"""benchmarks/daemon/emergency_stop.py has the figure. A neighbour may take the cores for a moment."""


@pytest.mark.parametrize("target", ["main", "servo", "unit"])
def test_an_emergency_stop_on_a_terminal_that_takes_nothing(
    shipped_bundle: Path, tmp_path: Path, target: str
) -> None:
    """A1, A2: it brakes where it is, is limp and latched, whichever of the unit's processes hear of it."""
    reactions_ms: list[float] = []
    while not reactions_ms or (reactions_ms[-1] >= MOST_MS and len(reactions_ms) < TRIES):
        (folder := tmp_path / str(len(reactions_ms))).mkdir()
        seen = one_try(folder, shipped_bundle, 0.3, target)
        assert (seen.braked, seen.limp, seen.latched, seen.exit_code) == (True, True, True, 1)
        reactions_ms.append(seen.reaction_ms)
    assert min(reactions_ms) < MOST_MS, reactions_ms


@pytest.fixture
def terminal() -> Iterator[int]:
    """A terminal that nobody reads."""
    ours, theirs = pty.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def running(
    shipped_bundle: Path, robot: RobotConfig, tmp_path: Path, terminal: int
) -> Iterator[tuple[Robot, subprocess.Popen[bytes], FeetechTwin]]:
    bus = servos_of(robot)
    with serving_port(bus) as port:
        made = Robot(tmp_path, shipped_bundle, port)
        process = made.start(terminal)
        yield made, process, bus
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def chunks(robot: Robot) -> int:
    return sum(event["kind"] == "chunkrecord" for event in read_events(robot.events))


def limp(bus: FeetechTwin) -> bool:
    return all(servo.get("torque_enable") == 0 for servo in bus.servos.values())


def test_a_terminal_that_takes_nothing_ends_no_task(
    running: tuple[Robot, subprocess.Popen[bytes], FeetechTwin], terminal: int
) -> None:
    """A1: after Ctrl-S alone the arm goes on, and SIGTERM still ends it with code 0."""
    robot, process, bus = running
    robot.wait_for("chunkrecord", process)
    termios.tcflow(terminal, termios.TCOOFF)
    before = chunks(robot)
    time.sleep(3)  # longer than control.starved_fault_ms and control.heartbeat_timeout_ms
    assert process.poll() is None
    assert chunks(robot) > before + 10
    process.terminate()
    assert process.wait(30) == 0
    assert limp(bus)
    assert robot.latch() == ""


def test_other_signals_to_the_whole_unit_are_a_stop(
    running: tuple[Robot, subprocess.Popen[bytes], FeetechTwin],
) -> None:
    """A2: nothing that can be sent, but SIGKILL and SIGSTOP, ends or suspends one of our processes."""
    robot, process, bus = running
    robot.wait_for("chunkrecord", process)
    for number in (signal.SIGTSTP, signal.SIGTTOU, signal.SIGINT, signal.SIGQUIT, *ENDING_SIGNALS):
        os.killpg(process.pid, number)
    assert process.wait(30) == 0
    assert limp(bus)
    after = [event["after"] for event in read_events(robot.events) if event["kind"] == "servo_state"]
    assert after[-2:] == ["STOPPING", "RELEASED"]


def wait_for_the_first_line(pid: int) -> None:
    """Until the command holds signals; Python's own start before that is not ours."""
    held = 1 << (signal.SIGUSR1 - 1)
    deadline = time.monotonic() + 60
    while not int(re.findall(r"SigBlk:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[0], 16) & held:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("number", "after_s"),
    [
        (signal.SIGINT, 0.0),
        (signal.SIGUSR1, 0.0),
        (signal.SIGTERM, 0.3),
        (signal.SIGINT, 0.8),
        (signal.SIGUSR1, 1.4),
    ],
)
def test_a_signal_at_any_moment_of_the_start(
    shipped_bundle: Path, robot: RobotConfig, tmp_path: Path, number: signal.Signals, after_s: float
) -> None:
    """A13: to all processes, the first imports included: no traceback, the documented code, no torque."""
    bus = servos_of(robot)
    with serving_port(bus) as port:
        made = Robot(tmp_path, shipped_bundle, port)
        with (tmp_path / "output").open("wb+") as output:
            process = made.start(output.fileno())
            wait_for_the_first_line(process.pid)
            time.sleep(after_s)
            os.killpg(process.pid, number)
            code = process.wait(60)
            output.seek(0)
            said = output.read().decode()
    assert "Traceback" not in said
    assert code == (1 if number == signal.SIGUSR1 else 0), said
    assert limp(bus)
    assert ("emergency stop" in made.latch()) == (number == signal.SIGUSR1)


def test_signals_in_the_last_words(shipped_bundle: Path, robot: RobotConfig, tmp_path: Path) -> None:
    """H15: SIGTERM again and again until the very end: code 0, not -15."""
    bus = servos_of(robot)
    with serving_port(bus) as port:
        made = Robot(tmp_path, shipped_bundle, port)
        with (tmp_path / "output").open("wb+") as output:
            process = made.start(output.fileno())
            made.wait_for("chunkrecord", process)
            while process.poll() is None:
                process.terminate()
                time.sleep(0.001)
            output.seek(0)
            said = output.read().decode()
    assert (process.returncode, "released after" in said) == (0, True), said
    assert limp(bus)
