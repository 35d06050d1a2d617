"""Rows H1, A6, A10, A11, A14: what the supervisor does first, and what it says in the end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wall_edge.cli.robot.run import refusal_lines
from wall_edge.config import CameraConfig, RobotConfig
from wall_edge.errors import CameraError, RuntimeFault
from wall_edge.runtime.daemon import daemon as module
from wall_edge.runtime.daemon import shutdown
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.runtime.daemon.readiness import CameraRates
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import frame_dtype
from wall_edge.runtime.ipc.messages import Refusal
from wall_edge.runtime.servo.states import Event, StateMachine, Transition
from wall_edge.runtime.telemetry.run_log import ChunkRecord
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.summary import ServoSummary
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import EventKind
from wall_edge.signals import Received
from wall_edge.sim.worlds import open_world

MS = 1_000_000


@pytest.fixture
def daemon(robot: RobotConfig, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """One that has started nothing."""
    manifest = SimpleNamespace(horizon=8)
    bundle = SimpleNamespace(manifest=manifest, hold=lambda: None)
    monkeypatch.setattr(module, "Bundle", lambda _: bundle)
    monkeypatch.setattr(module, "check_match", lambda *_: None)
    return Daemon(robot, world=open_world(robot))


class Processes:
    """A servo process that is said to be alive, and keeps silent."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def runs(self, name: str) -> bool:
        return name == "servo"

    def kill(self, name: str) -> None:
        self._calls.append(f"kill {name}")

    def alive(self, _: str) -> bool:
        return True

    def end(self) -> None:
        self._calls.append("end")

    def failure(self) -> str:
        return ""

    def receive(self, _: float) -> list[Any]:
        return []


@pytest.fixture
def calls(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the supervisor does about a servo process, in order."""
    done: list[str] = []
    daemon._supervisor = daemon._shutdown._supervisor = Processes(done)  # type: ignore[assignment]
    monkeypatch.setattr(shutdown, "release_arm", lambda *_: done.append("release") or "")
    monkeypatch.setattr(shutdown, "set_latch", lambda *_: done.append("latch"))
    return done


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), UnicodeError("surrogates"), OSError()])
def test_the_release_comes_before_bookkeeping_and_whatever_its_fault(
    daemon: Daemon, calls: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """H1: set_latch raised before release_arm, and torque stayed on."""

    def broken(*_: object) -> None:
        calls.append("latch")
        raise error

    monkeypatch.setattr(shutdown, "set_latch", broken)
    told = daemon._shutdown.release_without_servo("died")
    assert calls == ["kill servo", "release", "latch"]
    assert "the supervisor took the torque off where the arm stood" in told
    assert "the fault could not be kept" in told


@pytest.mark.parametrize("bug", [ValueError("a message nobody can read"), KeyboardInterrupt()])
def test_a_bug_in_the_way_to_rest_leaves_no_torque(
    daemon: Daemon, calls: list[str], monkeypatch: pytest.MonkeyPatch, bug: BaseException
) -> None:
    """H1: whatever goes wrong in the supervisor itself, nobody ends the servo process with torque on."""

    broken = [bug]

    def receive(*_: float) -> None:
        while broken:
            raise broken.pop()

    monkeypatch.setattr(daemon, "_receive", receive)
    if isinstance(bug, Exception):
        assert "a message nobody can read" in daemon.stop()
    else:
        with pytest.raises(KeyboardInterrupt):
            daemon.stop()
    assert calls == ["kill servo", "release", "latch", "end"]


def test_torque_that_stayed_on_is_said(
    daemon: Daemon, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6"""
    monkeypatch.setattr(shutdown, "release_arm", lambda *_: "the port is gone")
    told = daemon._shutdown.release_without_servo("died")
    assert "torque may still be on (the port is gone); cut the arm's power" in told
    assert "latch" in calls


def told() -> tuple[StateMachine, Callable[[], dict[str, Any]]]:
    """The states of a servo process, and what a reader of its telemetry adds up."""
    machine, rings = StateMachine(lambda: MS), ServoRings.of(6, 250.0)
    telemetry, reader, total = ServoTelemetry(rings, 4 * MS), rings.reader(), ServoSummary(rings)

    def tell(change: Transition) -> None:
        before, after = change.before, change.after
        telemetry.event(EventKind.STATE, before=before, after=after, text=change.reason)

    def summary() -> dict[str, Any]:
        total.follow(reader)
        return total.as_dict()

    machine.on_transition = tell
    return machine, summary


class TestReasons:
    def test_the_last_refusal_is_part_of_the_fault(self, daemon: Daemon, calls: list[str]) -> None:
        """A11: 117 refusals in the log, none on the terminal."""
        assert calls == []
        daemon._heart.start()
        for number in range(3):
            daemon.inbox.take("policy", Refusal("subgoal", f"the subgoal 'uh {number}' did not end"))
        daemon.record.servo = {"fault": "no chunk to follow for 2000 ms", "reason": "", "state": "FAULT"}
        with pytest.raises(RuntimeFault) as caught:
            daemon.poll()
        daemon._heart.close()
        assert str(caught.value) == (
            "no chunk to follow for 2000 ms; 3 refusals by the policy, the "
            "last: the subgoal 'uh 2' did not end"
        )

    def test_a_run_of_refusals_only_is_an_error(self, daemon: Daemon) -> None:
        """``run`` ended with code 0 although the arm had stood still: its policy had refused every chunk."""
        inbox, record = daemon.inbox, daemon.record
        assert refusal_lines(record, inbox, failed=False) == ([], [])
        inbox.take("policy", Refusal("chunk", "not finite"))
        inbox.take("policy", Refusal("subgoal", "no end"))
        errors, notes = refusal_lines(record, inbox, failed=False)
        words = "2 refusals by the policy, the last: no end"
        assert (errors, notes) == ([f"error: no chunk came, and the arm did not move; {words}"], [])
        assert refusal_lines(record, inbox, failed=True) == ([], [f"note: {words}"])
        inbox.take("policy", ChunkRecord(1, 1, 0, 1, 1, "touch it."))
        assert refusal_lines(record, inbox, failed=False) == ([], [])
        inbox.take("policy", Refusal("chunk", "not finite"))
        words = "1 refusal by the policy, the last: not finite"
        assert refusal_lines(record, inbox, failed=False) == ([], [f"note: {words}"])

    def test_a_chunk_makes_good(self, daemon: Daemon) -> None:
        daemon.inbox.take("policy", Refusal("chunk", "not finite"))
        daemon.inbox.take("policy", ChunkRecord(1, 1, 0, 1, 1, "touch it."))
        assert daemon.inbox.with_refusal("broken") == "broken"

    def test_why_the_arm_went_to_rest_by_itself(self, daemon: Daemon, calls: list[str]) -> None:
        """A14: "brought to rest by itself: at rest"."""
        assert calls == []
        machine, summary = told()
        machine.go(Event.READY)
        machine.go(Event.STOP, "supervisor silent")
        machine.go(Event.AT_REST)
        assert summary()["reason"] == "supervisor silent"
        daemon._heart.start()
        daemon.record.servo = summary()
        with pytest.raises(RuntimeFault, match="brought to rest by itself: supervisor silent"):
            daemon.poll()
        daemon._heart.close()

    def test_a_start_that_was_stopped(self) -> None:
        machine, summary = told()
        machine.go(Event.STOP, "signal")
        assert (summary()["state"], summary()["reason"]) == ("RELEASED", "signal")


def test_a_stop_that_is_over_before_it_is_looked_for(
    daemon: Daemon, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """H15: the heart tells the servo process at once; its end is then no fault of the arm's."""
    assert calls == []
    signals = Received()
    daemon._heart._received = signals

    def receive(*_: float) -> None:
        signals.note(signal.SIGTERM)
        daemon.record.servo = {"fault": None, "reason": "command", "state": "RELEASED"}

    monkeypatch.setattr(daemon, "_receive", receive)
    with pytest.raises(KeyboardInterrupt):
        daemon.poll()
    assert daemon.stop() == ""
    signals.close()


class TestTorqueFound:
    """A7: a refused start says how the torque is."""

    def leave(self, daemon: Daemon, error: BaseException | None) -> str:
        daemon._startup.powered = ("shoulder_pan", "gripper")
        try:
            daemon._leave(error)
        except RuntimeFault as fault:
            return str(fault)
        return ""

    def test_it_is_part_of_the_error(self, daemon: Daemon) -> None:
        told = self.leave(daemon, CameraError("camera face_view delivers 5.0 frames a second"))
        assert told == (
            "camera face_view delivers 5.0 frames a second; torque was found on (shoulder_pan, gripper) and "
            "left on; 'wall-edge release ROBOT.yaml' switches it off"
        )

    def test_it_is_said_after_an_interrupted_start(self, daemon: Daemon) -> None:
        assert self.leave(daemon, KeyboardInterrupt()) == ""
        assert "left on; 'wall-edge release ROBOT.yaml'" in daemon.torque_note

    def test_nothing_of_it_once_the_servo_process_had_the_arm(self, daemon: Daemon, calls: list[str]) -> None:
        assert calls == []
        daemon.record.servo = {"fault": "overload", "state": "FAULT", "touched": True}
        assert "left on" not in self.leave(daemon, RuntimeFault("overload"))


class Cameras:
    """Two cameras with frames at the given periods [ms], in a time that passes by waiting."""

    def __init__(self, **periods_ms: Callable[[int], int]) -> None:
        self.now, self._periods = 10_000 * MS, periods_ms
        self.frames = {name: Mailbox(frame_dtype(2, 2)) for name in periods_ms}
        self._due = dict.fromkeys(periods_ms, self.now)
        self._index = dict.fromkeys(periods_ms, 0)
        self.wait()

    def wait(self) -> None:
        self.now += 50 * MS
        for name, record in self.frames.items():
            while self._due[name] <= self.now:
                self._index[name] += 1
                frame = np.zeros(1, record.dtype)[0]
                frame["time_ns"], frame["index"] = self._due[name], self._index[name]
                record.write(frame)
                self._due[name] += self._periods[name](self.now // MS) * MS

    def rates(self, rate_hz: float = 30) -> CameraRates:
        camera = CameraConfig(kind="opencv", width=2, height=2, rate_hz=rate_hz, device=0)
        return CameraRates(dict.fromkeys(self.frames, camera), self.frames, self.wait, lambda: self.now)


class TestCameraRates:
    """A10: before power, by the frames that come."""

    def test_the_slow_one_is_named_with_both_rates(self) -> None:
        cameras = Cameras(face=lambda _: 33, wrist=lambda _: 200)
        told = r"camera wrist delivers 5\.0 frames a second; expected 30 \(cameras\.wrist\.rate_hz\)"
        with pytest.raises(CameraError, match=told):
            cameras.rates().require()

    @pytest.mark.parametrize(("period_ms", "rate_hz"), [(33, 30), (40, 30), (66, 30), (200, 5), (400, 3)])
    def test_a_camera_that_is_quick_enough(self, period_ms: int, rate_hz: float) -> None:
        Cameras(face=lambda _: period_ms, wrist=lambda _: period_ms).rates(rate_hz).require()

    def test_a_busy_machine_is_given_a_few_tries(self) -> None:
        start = Cameras(face=lambda _: 33).now // MS
        cameras = Cameras(face=lambda now: 200 if now - start < 1000 else 33)
        cameras.rates().require()

    def test_one_that_falls_silent(self) -> None:
        cameras = Cameras(face=lambda _: 10**6)
        with pytest.raises(CameraError, match="camera face delivered no frame"):
            cameras.rates().require()


def test_a_real_robot_needs_a_place_for_its_latch(
    robot: RobotConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H7: refused before anything else is looked at."""
    (tmp_path / "wall-edge").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    cameras = {n: replace(c, kind="opencv", device=n) for n, c in robot.cameras.items()}
    drives = {"arm": robot.drives["arm"].at("/dev/ttyNONE")}
    with pytest.raises(RuntimeFault, match="could not be kept"):
        Daemon(replace(robot, simulated=False, drives=drives, cameras=cameras, simulation=None))
