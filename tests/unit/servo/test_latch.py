"""The fault that outlives the daemon: set, kept, required and cleared."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servo_rig import CONFIG, MS
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.latch import clear_latch, latch_path, require_latch, require_unlatched, set_latch
from wall_edge.runtime.servo import process as servo
from wall_edge.runtime.servo.states import Event, StateMachine


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def path_of(config: RobotConfig) -> Path:
    path = latch_path(config)
    assert path is not None
    return path


def test_a_fault_is_kept_required_and_cleared(state_home: Path) -> None:
    require_unlatched(CONFIG)
    set_latch(CONFIG, "joint pan reports overload")
    kept = json.loads((state_home / "wall-edge" / "test.fault.json").read_text())
    assert (kept["robot"], kept["reason"]) == ("test", "joint pan reports overload")
    told = r"test faulted and was not cleared: joint pan reports overload \(\d{4}-.* UTC\); .*wall-edge clear"
    with pytest.raises(RuntimeFault, match=told):
        require_unlatched(CONFIG)
    assert str(clear_latch(CONFIG)).startswith("joint pan reports overload (")
    require_unlatched(CONFIG)
    assert clear_latch(CONFIG) is None


def test_the_first_fault_is_the_one_that_is_kept() -> None:
    set_latch(CONFIG, "the cause")
    set_latch(CONFIG, "what followed")
    assert str(clear_latch(CONFIG)).startswith("the cause (")


def test_nothing_half_written_is_left(state_home: Path) -> None:
    set_latch(CONFIG, "broken")
    assert [path.name for path in (state_home / "wall-edge").iterdir()] == ["test.fault.json"]


def test_robots_do_not_share_a_latch() -> None:
    set_latch(CONFIG, "broken")
    require_unlatched(replace(CONFIG, name="other"))


def test_a_name_stays_in_the_folder(state_home: Path) -> None:
    assert path_of(replace(CONFIG, name="../../arm")).parent == state_home / "wall-edge"


def test_it_is_kept_at_home_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert path_of(CONFIG) == tmp_path / "home" / ".local" / "state" / "wall-edge" / "test.fault.json"


NAMES = ["left/arm", "left_arm", "left%2Farm", "left%arm", "..", "a" * 300, "ä" * 300, "a" * 299 + "b"]
NAMES += ["left\0arm", "left\udcffarm", "left\x1barm"]


def named(name: str) -> Any:
    """A robot by any name, be it one that ROBOT.yaml may not give."""
    return SimpleNamespace(name=name, simulated=False)


def test_two_names_never_share_a_latch(state_home: Path) -> None:
    """H7, H1: left/arm and left_arm did; a long name has a file too, and one that no file can have."""
    robots = [named(name) for name in NAMES]
    assert len({path_of(robot) for robot in robots}) == len(NAMES)
    for robot in robots:
        set_latch(robot, f"broken {robot.name}")
    for robot in robots:
        assert path_of(robot).parent == state_home / "wall-edge"
        assert str(clear_latch(robot)).startswith(f"broken {robot.name} (")
        require_unlatched(robot)


def test_the_latch_of_an_earlier_version_holds() -> None:
    """H7: by the name it had then, if it is this robot's."""
    left = named("left/arm")
    former = path_of(left).with_name("left_arm.fault.json")
    former.parent.mkdir()
    former.write_text(json.dumps({"robot": "left/arm", "time": "then", "reason": "overload"}))
    with pytest.raises(RuntimeFault, match=r"left/arm faulted and was not cleared: overload \(then\)"):
        require_unlatched(left)
    assert clear_latch(left) == "overload (then)"
    require_unlatched(left)
    former.write_text(json.dumps({"robot": "left_arm", "time": "then", "reason": "overload"}))
    require_unlatched(left)


class TestProbe:
    """H7: a fault that could not be kept is no reason to find out after it."""

    def test_a_folder_that_can_be_written(self, state_home: Path) -> None:
        require_latch(CONFIG)
        assert list((state_home / "wall-edge").iterdir()) == []

    def test_one_that_cannot(self, state_home: Path) -> None:
        (state_home / "wall-edge").write_text("in the way")
        with pytest.raises(RuntimeFault, match=r"could not be kept in .*; expected .*XDG_STATE_HOME"):
            require_latch(CONFIG)

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(RuntimeFault, match="No space left"):
            require_latch(CONFIG)

    def test_the_simulated_arm_needs_none(self, robot: RobotConfig, state_home: Path) -> None:
        (state_home / "wall-edge").write_text("in the way")
        require_latch(robot)


def test_a_relative_state_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """H7: it would be another latch in every folder."""
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert path_of(CONFIG).is_relative_to(tmp_path / "home")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"reason": "broken"}', "\xff"])
def test_a_latch_that_cannot_be_read_is_a_latch_all_the_same(text: str) -> None:
    path = path_of(CONFIG)
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RuntimeFault, match=r"not cleared: .*cannot be read"):
        require_unlatched(CONFIG)
    assert "cannot be read" in str(clear_latch(CONFIG))
    require_unlatched(CONFIG)


def test_a_latch_that_may_not_be_opened_is_one_too() -> None:
    path_of(CONFIG).mkdir(parents=True)  # even root cannot read a folder as a file
    with pytest.raises(RuntimeFault, match="cannot be read"):
        require_unlatched(CONFIG)


def test_the_simulated_arm_has_none(robot: RobotConfig, state_home: Path) -> None:
    assert robot.simulated
    assert latch_path(robot) is None
    set_latch(robot, "broken")
    require_unlatched(robot)
    assert clear_latch(robot) is None
    assert list(state_home.iterdir()) == []


class TestServo:
    """Which faults of a servo process wait for a person."""

    @staticmethod
    def end(*events: Event) -> Any:
        machine = StateMachine(lambda: MS)
        for event in events:
            machine.go(event)
        machine.fail("broken")
        servo._latch(CONFIG, SimpleNamespace(machine=machine))  # type: ignore[arg-type]
        return machine

    @pytest.mark.parametrize(
        ("events", "latched"),
        [
            ([], False),  # a port that is missing is no reason to call for a person
            ([Event.STOP], False),
            ([Event.READY], True),
            ([Event.READY, Event.CHUNK], True),
            ([Event.READY, Event.CHUNK, Event.RUN_OUT], True),
            ([Event.READY, Event.STOP], True),
        ],
    )
    def test_of_an_arm_that_was_powered(self, events: list[Event], latched: bool) -> None:
        self.end(*events)
        assert path_of(CONFIG).exists() == latched

    def test_however_long_it_ran(self) -> None:
        """Only the last transitions are kept: the way into HOLDING may be long forgotten."""
        events = [Event.READY, *[Event.CHUNK, Event.RUN_OUT] * 1000]
        machine = self.end(*events)
        assert isinstance(machine.transitions, deque)
        assert all(change.after is not ServoState.HOLDING for change in machine.transitions)
        assert path_of(CONFIG).exists()

    @pytest.mark.parametrize("error", [OSError("full"), ValueError("embedded null byte"), TypeError("bug")])
    def test_no_error_of_bookkeeping_gets_out(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """H1: the summary, with which the supervisor knows that torque is off, goes out all the same."""

        def broken(*_: object) -> None:
            raise error

        monkeypatch.setattr(servo, "set_latch", broken)
        assert f"the fault could not be kept ({error})" in self.end(Event.READY).fault

    def test_an_emergency_stop_of_an_arm_that_was_not_powered(self) -> None:
        """A1: whoever pressed it wants to be asked first."""
        machine = StateMachine(lambda: MS)
        machine.fail("emergency stop", Event.EMERGENCY_STOP)
        servo._latch(CONFIG, SimpleNamespace(machine=machine))  # type: ignore[arg-type]
        assert path_of(CONFIG).exists()

    def test_one_that_cannot_be_kept_is_said(self, state_home: Path) -> None:
        (state_home / "wall-edge").write_text("in the way")
        machine = self.end(Event.READY)
        assert "broken; then: the fault could not be kept" in machine.fault
