"""Pictures and joints of one moment: with a clock that the test owns."""

from __future__ import annotations

import numpy as np
import pytest

from wall_edge.config import CameraConfig
from wall_edge.errors import CameraError
from wall_edge.runtime import observer as module
from wall_edge.runtime.observer import Observer
from wall_edge.runtime.records import feedback_dtype, frame_dtype
from wall_edge.runtime.shared import SharedRecord

MS = 1_000_000
CAMERA = CameraConfig(kind="sim", width=2, height=2, rate_hz=30, timeout_ms=500)


class Rig:
    """Two cameras; ``script`` maps a time [ms] to what arrives then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.script: dict[int, list[tuple[str, int]]] = {}
        self.frames = {name: SharedRecord(frame_dtype(2, 2)) for name in ("face", "wrist")}
        self.feedback = SharedRecord(feedback_dtype(1))
        self.observer = Observer(
            dict.fromkeys(self.frames, CAMERA), self.frames, self.feedback, lambda: self.now
        )
        monkeypatch.setattr(module.time, "sleep", lambda _: self.step())

    def step(self) -> None:
        self.now += MS
        for name, taken_ms in self.script.get(self.now // MS, []):
            self.show(name, taken_ms)
        joints = np.zeros(1, self.feedback.dtype)[0]
        joints["measured_ns"] = self.now
        self.feedback.write(joints)

    def show(self, name: str, taken_ms: int) -> None:
        record = np.zeros(1, self.frames[name].dtype)[0]
        record["time_ns"], record["pixels"] = taken_ms * MS, taken_ms % 256
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
