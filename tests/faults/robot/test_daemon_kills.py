"""Whatever dies, the arm does not stay powered.

The arm outlives the daemon: its servos are on a pseudo-terminal that this test owns, so torque can be read
afterwards; the cameras are video files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import serving_port

from tests.machines.powered_arm import robot_file, servos_of
from wall_edge.config import RobotConfig, load_robot
from wall_edge.runtime.servo.drives import open_drives
from wall_edge.runtime.telemetry.event_log import read_events
from wall_edge.sim.tabletop import arm


class Rig:
    """``wall-edge run`` on an arm of its own."""

    def __init__(self, bus: FeetechTwin, robot: Path, events: Path) -> None:
        self.bus, self.events, self.robot = bus, events, robot
        self.env = {**os.environ, "XDG_STATE_HOME": str(robot.parent / "state")}
        command = [sys.executable, "-m", "wall_edge", "run", str(robot), "--events", str(events)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=self.env,
        )

    def clear(self) -> str:
        command = [sys.executable, "-m", "wall_edge", "clear", str(self.robot)]
        return subprocess.run(command, capture_output=True, text=True, env=self.env, check=True).stdout

    def torque(self) -> list[int]:
        return [servo.get("torque_enable") for servo in self.bus.servos.values()]

    def wait_for(self, kind: str, seconds: float = 240.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            for event in read_events(self.events) if self.events.exists() else []:
                if event["kind"] == kind:
                    return event
            time.sleep(0.05)
        raise AssertionError(f"no {kind} event: {self.process.communicate()}")

    def leave_rest(self, radians: float, seconds: float = 120.0) -> None:
        """Until some joint is so far from its rest."""
        deadline = time.monotonic() + seconds
        while np.abs(self.bus.positions(time.monotonic_ns()) - arm.REST).max() < radians:
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def pid(self, name: str) -> int:
        events = read_events(self.events)
        return next(int(str(e["pid"])) for e in events if e["kind"] == "spawned" and e["process"] == name)

    def end(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=180)
        return self.process.returncode, output, errors


@pytest.fixture
def make_rig(shipped_bundle: Path, robot: RobotConfig, tmp_path: Path) -> Iterator[Any]:
    rigs: list[Rig] = []
    bus = servos_of(robot)
    with serving_port(bus) as port:

        def make(
            video_s: float = 60,
            device: dict[str, str] | None = None,
            rest_velocity: float = 0.8,
            before: Callable[[Path], object] = lambda _: None,
        ) -> Rig:
            path = robot_file(tmp_path, shipped_bundle, port.path, video_s, device or {}, rest_velocity)
            before(path)
            rigs.append(Rig(bus, path, tmp_path / "events.jsonl"))
            return rigs[-1]

        yield make
        for rig in rigs:
            if rig.process.poll() is None:
                os.killpg(rig.process.pid, signal.SIGKILL)
                rig.process.communicate()


def one_line(errors: str) -> str:
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    return lines[0]


def test_a_killed_servo_process(make_rig: Any) -> None:
    rig = make_rig()
    rig.wait_for("chunkrecord")
    assert rig.torque() == [1] * 6
    os.kill(rig.pid("servo"), signal.SIGKILL)
    code, _, errors = rig.end()
    assert code == 1
    assert "the supervisor took the torque off" in one_line(errors)
    assert rig.torque() == [0] * 6
    assert "cleared the servo process died" in rig.clear()


def test_a_hung_servo_process(make_rig: Any) -> None:
    """A suspended servo loop holds a powered arm without watching it: the supervisor must not look on."""
    rig = make_rig()
    rig.wait_for("chunkrecord")
    os.kill(rig.pid("servo"), signal.SIGSTOP)
    code, _, errors = rig.end()
    assert code == 1
    assert "the servo process was silent" in one_line(errors)
    assert rig.torque() == [0] * 6


def test_a_killed_policy_process(make_rig: Any) -> None:
    rig = make_rig()
    rig.wait_for("chunkrecord")
    os.kill(rig.pid("policy"), signal.SIGKILL)
    code, _, errors = rig.end()
    assert code == 1
    assert "the policy process ended unexpectedly" in one_line(errors)
    assert rig.torque() == [0] * 6


def test_a_killed_supervisor(make_rig: Any) -> None:
    """Nobody tells the servo process anything any more: it takes the arm to rest and releases it."""
    rig = make_rig()
    rig.wait_for("chunkrecord")
    os.kill(rig.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while rig.torque() != [0] * 6 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert rig.torque() == [0] * 6
    assert np.abs(rig.bus.positions(time.monotonic_ns()) - arm.REST).max() < 0.15


def test_a_terminal_that_goes_away(make_rig: Any) -> None:
    rig = make_rig()
    rig.wait_for("chunkrecord")
    os.killpg(rig.process.pid, signal.SIGHUP)
    code, output, errors = rig.end()
    assert (code, "released after" in output) == (0, True), errors
    assert rig.torque() == [0] * 6


def test_more_signals_do_not_break_off_the_way_to_rest(make_rig: Any) -> None:
    rig = make_rig(rest_velocity=0.1)
    rig.wait_for("chunkrecord")
    rig.leave_rest(0.15)  # for a way back of seconds
    for _ in range(5):
        os.kill(rig.process.pid, signal.SIGTERM)
        time.sleep(0.1)
    code, output, errors = rig.end()
    assert (code, "released after" in output) == (0, True), errors
    assert rig.torque() == [0] * 6
    assert np.abs(rig.bus.positions(time.monotonic_ns()) - arm.REST).max() < 0.15


def test_a_camera_that_falls_silent(make_rig: Any) -> None:
    """A recording ends as a cable comes loose: no frame any more, and the arm goes to rest."""
    rig = make_rig(video_s=6)
    code, _, errors = rig.end()
    assert code == 1
    assert "view delivered no frame" in one_line(errors)  # "for", unless the start took longer than the video
    assert rig.torque() == [0] * 6


def test_a_camera_that_is_not_there(make_rig: Any) -> None:
    rig = make_rig(device={"face_view": "/dev/video99"})
    code, _, errors = rig.end()
    assert code == 1
    message = one_line(errors)
    assert "/dev/video99" in message
    assert "expected a video device" in message
    assert rig.torque() == [0] * 6


def test_an_emergency_stop_waits_for_a_person(make_rig: Any) -> None:
    """The arm brakes where it is and goes limp, and does not start again before somebody has cleared it."""
    rig = make_rig()
    rig.wait_for("chunkrecord")
    rig.leave_rest(0.1)
    os.kill(rig.process.pid, signal.SIGUSR1)
    code, _, errors = rig.end()
    assert code == 1
    assert "emergency stop" in one_line(errors)
    assert rig.torque() == [0] * 6
    assert np.abs(rig.bus.positions(time.monotonic_ns()) - arm.REST).max() > 0.05  # not at rest: where it was
    code, _, errors = make_rig().end()
    assert code == 1
    assert "faulted and was not cleared: emergency stop" in one_line(errors)
    assert rig.torque() == [0] * 6
    assert "cleared emergency stop" in rig.clear()
    again = make_rig(before=lambda path: (path.parent / "events.jsonl").unlink())
    again.wait_for("chunkrecord")
    os.kill(again.process.pid, signal.SIGTERM)
    assert again.end()[0] == 0


def test_a_refused_start_leaves_the_torque_as_it_was(make_rig: Any) -> None:
    """A7: an arm that is held from an earlier crash, a joint outside its limits: it is not dropped."""

    def crashed(path: Path) -> None:
        config = load_robot(path)
        with open_drives(config, {}) as drives:
            drives.enable()
        data = yaml.safe_load(path.read_text())
        data["joints"][0].update(lower=0.5, upper=1.0)
        data["control"]["rest"][0] = 0.7
        path.write_text(yaml.safe_dump(data))

    rig = make_rig(before=crashed)
    code, _, errors = rig.end()
    assert code == 1
    message = one_line(errors)
    assert "shoulder_pan" in message
    assert "torque was found on (shoulder_pan, " in message
    assert "left on; 'wall-edge release ROBOT.yaml' switches it off" in message
    assert rig.torque() == [1] * 6
    command = [sys.executable, "-m", "wall_edge", "release", str(rig.robot)]
    done = subprocess.run(command, capture_output=True, text=True, env=rig.env, check=True)
    assert done.stdout.count("torque on -> off") == 6
    assert rig.torque() == [0] * 6
