"""Pictures and joints of one moment: with a clock that the test owns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wall_edge.config import CameraConfig
from wall_edge.errors import CameraError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import feedback_dtype, frame_dtype
from wall_edge.runtime.policy import observer as module
from wall_edge.runtime.policy.observer import Observer

MS = 1_000_000
CAMERA = CameraConfig(kind="sim", width=2, height=2, rate_hz=30, timeout_ms=500)


class Rig:
    """Two cameras; ``script`` maps a time [ms] to what arrives then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.script: dict[int, list[tuple[str, int]]] = {}
        self.frames = {name: Mailbox(frame_dtype(2, 2)) for name in ("face", "wrist")}
        self.feedback = Mailbox(feedback_dtype(1))
        self.position = 0.0
        self.plan_ns = 0
        self.observer = Observer(
            dict.fromkeys(self.frames, CAMERA), self.frames, self.feedback, lambda: self.now
        )
        monkeypatch.setattr(module.time, "sleep", lambda _: self.step())

    def step(self) -> None:
        self.now += MS
        for name, taken_ms in self.script.get(self.now // MS, []):
            self.show(name, taken_ms)
        self.measure()

    def measure(self) -> None:
        joints = np.zeros(1, self.feedback.dtype)[0]
        joints["measured_ns"], joints["plan_ns"] = self.now, self.plan_ns
        joints["position"] = self.position
        self.feedback.write(joints)

    def show(self, name: str, taken_ms: int, grey: int | None = None) -> None:
        record = np.zeros(1, self.frames[name].dtype)[0]
        record["time_ns"], record["pixels"] = taken_ms * MS, taken_ms % 256 if grey is None else grey
        self.frames[name].write(record)


def test_both_cameras_and_the_joints_of_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.script = {10: [("face", 10)], 12: [("wrist", 12)]}
    seen = rig.observer.next()
    assert seen.frames_ns == 10 * MS
    assert seen.time_ns == 12 * MS


def test_a_frame_is_returned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.script = {1: [("face", 1), ("wrist", 1)], 34: [("face", 34), ("wrist", 34)]}
    assert rig.observer.next().frames_ns == 1 * MS
    assert rig.observer.next().frames_ns == 34 * MS


def test_old_frames_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that lay in the mailbox while the camera stalled is not the present."""
    rig = Rig(monkeypatch)
    rig.now = 1000 * MS
    rig.show("face", 800)
    rig.show("wrist", 800)
    rig.script = {1020: [("face", 1020), ("wrist", 1020)]}
    assert rig.observer.next().frames_ns == 1020 * MS


def test_a_frame_goes_stale_while_the_other_camera_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.script = {t: [("face", t)] for t in range(1, 400, 33)}
    rig.script[300] = [("wrist", 300)]
    seen = rig.observer.next()
    assert seen.frames_ns == 298 * MS
    assert seen.frames["face"].max() == 298 % 256


def test_frames_from_before_the_task_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.script = {5: [("face", 5), ("wrist", 5)], 38: [("face", 38), ("wrist", 38)]}
    assert rig.observer.next(since_ns=6 * MS).frames_ns == 38 * MS


def test_a_silent_camera_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    rig.script = {t: [("face", t)] for t in range(1, 900, 33)}
    with pytest.raises(CameraError, match="camera wrist delivered no frame for 5"):
        rig.observer.next()


class TestPoll:
    """The virtual world polls: it must neither wait nor invent."""

    @pytest.fixture
    def rig(self, monkeypatch: pytest.MonkeyPatch) -> Rig:
        made = Rig(monkeypatch)

        def slept(_: float) -> None:
            pytest.fail("poll() waited")

        monkeypatch.setattr(module.time, "sleep", slept)
        made.now = 1000 * MS
        return made

    def test_nothing_without_frames(self, rig: Rig) -> None:
        rig.measure()
        assert rig.observer.poll() is None
        rig.show("face", 1000)
        assert rig.observer.poll() is None
        rig.show("wrist", 1000)
        assert rig.observer.poll() is not None

    def test_nothing_without_feedback(self, rig: Rig) -> None:
        for name in rig.frames:
            rig.show(name, 1000)
        assert rig.observer.poll() is None
        now, rig.now = rig.now, 0
        rig.measure()  # a servo process that has not read the bus yet
        rig.now = now
        assert rig.observer.poll() is None
        rig.measure()
        seen = rig.observer.poll()  # the frames were not lost over it
        assert seen is not None
        assert (seen.frames_ns, seen.time_ns) == (1000 * MS, 1000 * MS)

    def test_a_silent_camera_is_no_error_here(self, rig: Rig) -> None:
        rig.measure()
        for _ in range(5):
            rig.now += 1000 * MS
            assert rig.observer.poll() is None

    def test_the_index_counts_observations_and_nothing_else(self, rig: Rig) -> None:
        indices = []
        for n in range(4):
            rig.now += 33 * MS
            rig.plan_ns = 7 * n
            rig.measure()
            assert rig.observer.poll() is None
            for name in rig.frames:
                rig.show(name, rig.now // MS)
            seen = rig.observer.poll()
            assert seen is not None
            assert seen.plan_ns == 7 * n
            indices.append(seen.index)
            assert rig.observer.poll() is None
        assert indices == [1, 2, 3, 4]

    def test_the_index_goes_on_where_it_is_told_to(self, rig: Rig) -> None:
        cameras = dict.fromkeys(rig.frames, CAMERA)
        observer = Observer(cameras, rig.frames, rig.feedback, lambda: rig.now, first_index=41)
        rig.measure()
        for name in rig.frames:
            rig.show(name, 1000)
        seen = observer.poll()
        assert seen is not None
        assert seen.index == 41


class TestFrozenCamera:
    """A picture that never changes while the arm moves shows the past."""

    @pytest.fixture
    def rig(self, monkeypatch: pytest.MonkeyPatch) -> Rig:
        made = Rig(monkeypatch)
        made.now = 1000 * MS
        return made

    @staticmethod
    def look(rig: Rig, wrist: int, moved: float = 0.0) -> None:
        """33 ms later: a new picture from face, grey level ``wrist`` from wrist, joint at ``moved`` rad."""
        rig.now += 33 * MS
        rig.position = moved
        rig.measure()
        rig.show("face", rig.now // MS)
        rig.show("wrist", rig.now // MS, grey=wrist)
        assert rig.observer.poll() is not None

    def test_refused_by_name_once_the_joint_has_moved_for_long_enough(self, rig: Rig) -> None:
        for n in range(16):  # 15 · 33 ms = 495 ms is no fault yet
            self.look(rig, wrist=7, moved=0.01 * n)
        with pytest.raises(CameraError, match=r"camera wrist .* same picture for 528 ms .* moved 0\.16 rad"):
            self.look(rig, wrist=7, moved=0.16)

    def test_the_same_picture_of_an_arm_that_stands_is_none(self, rig: Rig) -> None:
        for n in range(100):
            self.look(rig, wrist=7, moved=0.024 * (-1) ** n)  # an encoder's noise

    def test_an_arm_that_came_back_has_moved_all_the_same(self, rig: Rig) -> None:
        for n in range(16):
            self.look(rig, wrist=7, moved=0.3 if n == 3 else 0.0)
        with pytest.raises(CameraError, match=r"moved 0\.30 rad"):
            self.look(rig, wrist=7)

    def test_every_new_picture_begins_again(self, rig: Rig) -> None:
        for n in range(100):
            self.look(rig, wrist=n // 15, moved=0.01 * n)

    def test_the_camera_decides_how_long(self, rig: Rig) -> None:
        patient = replace(CAMERA, frozen_ms=2000, frozen_rad=1.0)
        rig.observer = Observer(dict.fromkeys(rig.frames, patient), rig.frames, rig.feedback, lambda: rig.now)
        for n in range(61):
            self.look(rig, wrist=7, moved=0.02 * n)
        with pytest.raises(CameraError, match="camera wrist"):
            self.look(rig, wrist=7, moved=1.22)


def test_a_camera_that_dies_while_the_other_is_late_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last picture grew too old to be used, but still counted as delivered: the wait never ended."""
    rig = Rig(monkeypatch)
    rig.script = {t: [("wrist", t)] for t in range(300, 3000, 33)} | {t: [("face", t)] for t in (1, 34, 67)}
    with pytest.raises(CameraError, match="camera face delivered no frame for 5"):
        rig.observer.next()
    assert rig.now <= (67 + 501) * MS


def test_an_observation_is_as_old_on_the_plan_clock_as_its_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch)
    joints = np.zeros(1, rig.feedback.dtype)[0]
    joints["measured_ns"], joints["plan_ns"], joints["position"] = 3 * MS, 77 * MS, 0.5
    rig.feedback.write(joints)
    rig.now = 4 * MS
    rig.show("face", 3)
    rig.show("wrist", 2)
    seen = rig.observer.poll()
    assert seen is not None
    assert (seen.time_ns, seen.plan_ns, seen.frames_ns) == (3 * MS, 77 * MS, 2 * MS)
    assert seen.state.tolist() == [0.5]


def test_cameras_too_slow_to_be_paired_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A10: 4 frames a second, out of phase by half: each delivers, no two are ever fresh. Once endless."""
    rig = Rig(monkeypatch)
    rig.script = {t: [("face", t)] for t in range(1, 3000, 240)} | {
        t: [("wrist", t)] for t in range(121, 3000, 240)
    }
    told = r"camera (face|wrist) delivers 4\.2 frames a second; expected 30 \(cameras.(face|wrist).rate_hz\)"
    with pytest.raises(CameraError, match=told):
        rig.observer.next()
    assert rig.now < 1000 * MS


def test_cameras_out_of_phase_at_their_real_rate_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    """A10: said truly, the same cameras do."""
    rig = Rig(monkeypatch)
    slow = replace(CAMERA, rate_hz=5)
    rig.observer = Observer(dict.fromkeys(rig.frames, slow), rig.frames, rig.feedback, lambda: rig.now)
    rig.script = {t: [("face", t)] for t in range(1, 3000, 200)} | {
        t: [("wrist", t)] for t in range(104, 3000, 200)
    }
    assert rig.observer.next().frames_ns == 1 * MS
    assert rig.observer.next().frames_ns == 201 * MS
