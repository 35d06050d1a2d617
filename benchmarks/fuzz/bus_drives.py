"""Drives of every kind on noisy lines, and their twins under random requests, in virtual time.

Judged against what is known: a position that was not true within the last cycles must not be believed, but
for what a checksum lets through; the cycle ends by its deadline; a clear line brings all joints back. Where
frames lie (a CAN frame that keeps its identifier and its length is data, and the bridge of Damiao has no
checksum), only crashes, hangs and the way back are judged.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from wall_edge_bridge.drives import Drive, Setpoints
from wall_edge_bridge.sim import VirtualClock, wire_to
from wall_edge_bridge.transport import Frame

from benchmarks.bus.seven_joints import Bus, bus
from benchmarks.fuzz.bus_noise import NoisyWire, damaged, damaged_frame, stranger
from wall_edge.errors import WallEdgeError

JOINTS = 3
CYCLES, CLEAR = 40, 40
_REMEMBERED_NS = 150_000_000
"""A word may come 60 ms late, and the cycle before it lasts for 25."""
_TOLERANCE = 0.02
_SPARE_NS = 5_000_000
"""Beyond its deadline, a cycle may end what it does at leisure."""


class Line(NamedTuple):
    """A bus to be disturbed."""

    make: Callable[[], Bus]
    let_through: float
    """Of damaged packets, how many a checksum believes at most; CAN: none, frames are whole or not there."""
    lies: bool = False


LINES: dict[str, Line] = {
    "feetech": Line(lambda: bus("feetech", JOINTS), 1 / 256),
    "dynamixel": Line(lambda: bus("dynamixel", JOINTS), 1 / 65536),
    "dynamixel fast": Line(lambda: bus("dynamixel", JOINTS, fast=True), 1 / 65536),
    "damiao": Line(lambda: bus("damiao", JOINTS), 0.0),
    "damiao fd": Line(lambda: bus("damiao", JOINTS, data_bitrate=5_000_000), 0.0),
    "damiao bridge": Line(lambda: bus("damiao", JOINTS, interface="damiao-usb"), 0.0, lies=True),
    "robstride": Line(lambda: bus("robstride", JOINTS), 0.0),
    "odrive": Line(lambda: bus("odrive", JOINTS), 0.0),
    "odrive asked": Line(lambda: bus("odrive", JOINTS, estimates_ms=None), 0.0),
    "moteus": Line(lambda: bus("moteus", JOINTS), 0.0),
    "cia402": Line(lambda: bus("cia402", JOINTS), 0.0),
}


class Scene:
    """One drive with its twin; ``report`` counts."""

    def __init__(self, name: str, rng: random.Random, lies: bool, report: Counter[str]) -> None:
        line = LINES[name]
        self._rng, self._report = rng, report
        self.lies = lies or line.lies
        self.bus = line.make()
        self.clock = VirtualClock()
        self.twin = self.bus.kind.make_twin(
            self.bus.settings, self.bus.joints, self.bus.rest, timed=rng.random() < 0.5
        )
        wire = wire_to(self.twin, self.clock, self.clock.sleep)
        self.wire = NoisyWire(wire, self.clock, rng, lies=self.lies)
        self.drive = self._open()
        self._true: list[tuple[int, np.ndarray]] = []
        self._last = np.zeros(JOINTS, np.int64)

    def _open(self) -> Drive:
        drive: Drive = self.bus.kind.open_drive(
            self.bus.settings, self.bus.joints, self.wire, clock=self.clock, start_slack_rad=0.1
        )
        return drive

    def run(self) -> None:
        """From a clear line to a noisy one and back. All exceptions but a WallEdgeError: findings."""
        drive = self.drive
        drive.connect()
        drive.arm_watchdog(0.5)
        drive.enable()
        self._last = drive.cycle(None, self.clock() + 20_000_000).received_ns
        self._note()
        self.wire.level = self._rng.choice((0.02, 0.1, 0.3, 0.7))
        for tick in range(CYCLES):
            self._cycle(tick)
        self._at_leisure()
        self.wire.level = 0.0
        self._come_back()
        self._report["disturbed"] += self.wire.disturbed
        self._report["checksum errors"] += drive.counters.checksum_errors

    def _cycle(self, tick: int) -> None:
        goal = 0.2 * np.sin(tick / 15 + np.arange(JOINTS))
        start_ns = self.clock()
        deadline_ns = start_ns + 20_000_000
        self._report["cycles"] += 1
        try:
            feedback = self.drive.cycle(Setpoints.hold(goal, start_ns), deadline_ns)
        except WallEdgeError as error:
            self._refused(error)
        else:
            self._judge(feedback.position, feedback.received_ns)
        assert self.clock() <= deadline_ns + _SPARE_NS, f"{(self.clock() - start_ns) / 1e6:.1f} ms of 20"
        self.clock.sleep(start_ns + self._rng.choice((2, 4, 25)) * 1_000_000)
        self._note()

    def _refused(self, error: WallEdgeError) -> None:
        assert "\n" not in str(error)
        self._report["refused"] += 1

    def _note(self) -> None:
        now_ns = self.clock()
        self._true = [each for each in self._true if now_ns - each[0] < _REMEMBERED_NS]
        self._true.append((now_ns, self.twin.positions(now_ns).copy()))

    def _judge(self, position: np.ndarray, received_ns: np.ndarray) -> None:
        self._note()
        if self.lies:
            return
        true = np.array([each for _, each in self._true])
        fresh = received_ns > self._last
        inside = (position >= true.min(0) - _TOLERANCE) & (position <= true.max(0) + _TOLERANCE)
        self._report["believed"] += int(fresh.sum())
        self._report["false"] += int((fresh & ~inside).sum())
        self._last = received_ns

    def _at_leisure(self) -> None:
        """Everything else that a drive does, on the noisy line."""
        again = self._open()
        for action in (
            again.connect,
            again.check,
            lambda: self.drive.look(self.clock() + 50_000_000),
            self.drive.torque,
            lambda: self.drive.arm_watchdog(0.5),
            self.drive.enable,
            self.drive.disable,
        ):
            self._report["actions"] += 1
            try:
                action()
            except WallEdgeError as error:
                self._refused(error)

    def _come_back(self) -> None:
        """A clear line: the same drive works again, or says which fault a person must see to."""
        drive, whole = self.drive, 0
        for _ in range(CLEAR):
            start_ns = self.clock()
            try:
                feedback = drive.cycle(None, start_ns + 20_000_000)
                whole = whole + 1 if bool((feedback.received_ns >= start_ns).all()) else 0
            except WallEdgeError:
                whole = 0
            self.clock.sleep(start_ns + 4_000_000)
            self._note()
        assert whole > 1, "a clear line did not bring the joints back"
        there = drive.cycle(None, self.clock() + 20_000_000).position
        true = self.twin.positions(self.clock())
        assert np.abs(there - true).max() < _TOLERANCE, f"{there} is believed, {true} is true"
        drive.disable()


def requests(name: str, rng: random.Random, report: Counter[str]) -> None:
    """A twin under random requests and damaged real ones: it must not fall, nor lose its joints."""
    scene = Scene(name, rng, True, report)
    scene.drive.connect()
    scene.drive.enable()
    scene.drive.cycle(Setpoints.hold(np.zeros(JOINTS)), scene.clock() + 20_000_000)
    valid: Sequence[Any] = scene.wire.sent
    for _ in range(200):
        report["requests"] += 1
        scene.clock.now_ns += rng.choice((0, 100_000, 3_000_000))
        scene.twin.handle(_request(rng, rng.choice(valid)), scene.clock())
        if rng.random() < 0.2:
            scene.twin.collect(scene.clock())
    assert np.isfinite(scene.twin.positions(scene.clock())).all()
    assert len(scene.twin.powered(scene.clock())) == JOINTS


def _request(rng: random.Random, valid: Any) -> Any:
    if isinstance(valid, Frame):
        return stranger(rng) if rng.random() < 0.3 else damaged_frame(rng, valid)
    return rng.randbytes(rng.randint(0, 40)) if rng.random() < 0.3 else damaged(rng, valid)
