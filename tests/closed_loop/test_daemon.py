"""The daemon on the simulated arm: real processes, real bytes, real time.

Assertions are on counts and on ratios within one run: this machine may stall for tens of milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.patience import patient, patient_file
from wall_edge.bundle import MANIFEST
from wall_edge.cli.robot.examples import POLICIES
from wall_edge.config import RobotConfig
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.runtime.telemetry.event_log import read_events
from wall_edge.runtime.telemetry.run_log import chunk_intervals_ms
from wall_edge.runtime.telemetry.run_summary import summarise
from wall_edge.sim.world.plug import StageWorld
from wall_edge.sim.worlds import open_world

ROOT = Path(__file__).parents[2]
ROBOT = ROOT / "examples" / "tabletop" / "robot.yaml"


@pytest.fixture
def simulated(robot: RobotConfig, shipped_bundle: Path) -> RobotConfig:
    return replace(robot, bundle=shipped_bundle)


@pytest.fixture
def robot_file(shipped_bundle: Path, tmp_path: Path) -> Path:
    """The tabletop's ROBOT.yaml with the exported bundle, to edit."""
    data = patient_file(yaml.safe_load(ROBOT.read_text()))
    data["bundle"] = str(shipped_bundle)
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def running(robot: RobotConfig, **options: Any) -> Daemon:
    return Daemon(robot, world=open_world(robot), **options)


def play(daemon: Daemon, episodes: int) -> None:
    assert isinstance(daemon.world, StageWorld)
    for number in range(episodes):
        daemon.world.start_episode(number)
        while len(daemon.record.episodes) <= number:
            daemon.poll()


def test_episodes_end_to_end(simulated: RobotConfig, tmp_path: Path) -> None:
    """Three tasks from camera images to servo bytes, with every count that the summary makes."""
    events = tmp_path / "events.jsonl"
    with running(simulated, events=events) as daemon:
        play(daemon, 3)
    summary = summarise(daemon.record, Path("report.html"))
    assert summary["successes"] >= 2
    assert summary["servo"]["starved_ticks"] == 0
    assert summary["servo"]["rate_hz"] > 0.8 * simulated.control.rate_hz
    assert summary["subgoals"]["correct_rate"] >= 0.9
    assert summary["subgoals"]["switches"] >= 2 * summary["successes"]
    assert daemon.record.servo["state"] == "RELEASED"
    assert daemon.record.servo["fault"] is None
    rest = np.array(simulated.control.rest)
    assert np.abs(daemon.record.servo["trace"]["position"][-1] - rest).max() < 0.1

    kinds = {event["kind"] for event in read_events(events)}
    assert {
        "enginenote",
        "instruct",
        "episodestart",
        "blocktouch",
        "episodeend",
        "chunkrecord",
        "subgoalrecord",
        "servo_state",
    } <= kinds
    known = {(subgoal.epoch, subgoal.subgoal_id): subgoal.text for subgoal in daemon.record.subgoals}
    for chunk in daemon.record.chunks:
        assert known[chunk.epoch, chunk.subgoal_id] == chunk.subgoal
    # Every chunk names its observation, and acts on words from an earlier one of the same instruction.
    seen = [chunk.observation for chunk in daemon.record.chunks]
    assert seen == sorted(set(seen))
    first = {(s.epoch, s.subgoal_id): s.observation for s in reversed(daemon.record.subgoals)}
    assert all(c.observation > first[c.epoch, c.subgoal_id] for c in daemon.record.chunks)
    assert summary["servo"]["pickup_us"]["p50"] <= 1e6 / simulated.control.rate_hz


def test_subgoals_never_stall_the_action_loop(simulated: RobotConfig) -> None:
    """With the planner decoding without a pause, chunks keep their pace."""
    policy = replace(simulated.policy, subgoal_period_ms=0.1)
    with running(replace(simulated, policy=policy)) as daemon:
        play(daemon, 2)
    intervals = chunk_intervals_ms(daemon.record.chunks)
    # Both prompts share an observation's prefix: one subgoal an observation is all there can be.
    assert len(daemon.record.subgoals) > 0.7 * len(daemon.record.chunks)
    assert np.percentile(intervals, 95) < 2 * np.median(intervals)


def test_a_task_that_arrives_while_stopping_does_not_start_the_arm_again(simulated: RobotConfig) -> None:
    """A bug once: the world's answer, read during the stop, turned STOP back into FOLLOW."""
    with running(patient(simulated)) as daemon:
        assert isinstance(daemon.world, StageWorld)
        daemon.world.start_episode(0)
        time.sleep(0.1)  # the answer is in the pipe, unread
    assert daemon.record.servo["state"] == "RELEASED"
    assert daemon.record.servo["ticks"] < 8 * simulated.control.rate_hz


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_brings_the_arm_to_rest(robot_file: Path, tmp_path: Path, number: signal.Signals) -> None:
    events = tmp_path / "events.jsonl"
    command = [sys.executable, "-m", "wall_edge", "run", str(robot_file), "--events", str(events)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for_chunk(events)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # Ctrl-C reaches the whole group
        else:
            process.send_signal(number)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "released after" in output
    assert "Traceback" not in errors
    changes = [event for event in read_events(events) if event["kind"] == "servo_state"]
    assert [change["after"] for change in changes][-2:] == ["STOPPING", "RELEASED"]


def wait_for_chunk(events: Path, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if events.exists() and any(event["kind"] == "chunkrecord" for event in read_events(events)):
            return
        time.sleep(0.1)
    raise AssertionError("no chunk was ever published")


@pytest.mark.workstation
@pytest.mark.parametrize("policy", POLICIES)
def test_the_demo_prints_one_json_object(policy: str, robot_file: Path, tmp_path: Path) -> None:
    """Checkpoint → export → verify → daemon → report, as a user runs it; then a threshold it cannot meet."""
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "wall_edge", "demo", "--episodes", "1", "--seed", "3", "--json"]
    command += ["--out", str(out), "--min-success", "1.1", "--robot", str(robot_file), "--policy", policy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "below" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["episodes"] == 1
    assert yaml.safe_load((out / "bundle" / MANIFEST).read_text())["family"] == policy
    wanted = {"episodes", "successes", "success_rate", "servo", "policy", "subgoals", "bus", "report"}
    wanted |= {"kinematics", "workspace"}
    assert set(summary) == wanted
    assert set(summary["servo"]["lateness_us"]) == {"p50", "p99", "p999"}
    assert {"generated", "switches", "latency_ms", "longest_chunk_interval_ms"} <= set(summary["subgoals"])
    report = Path(summary["report"]).read_text()
    assert "<svg" in report
    assert "touch the" in report
