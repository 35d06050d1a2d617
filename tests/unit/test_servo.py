"""The servo loop, tick by tick, with a drive and a clock that the test owns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from wall_edge_bridge.drives import Drive, Feedback, JointSpec

from wall_edge.config import RobotConfig, from_mapping
from wall_edge.errors import BusError, BusTimeout, DriveError, RuntimeFault
from wall_edge.runtime.realtime import RealtimeReport
from wall_edge.runtime.records import Wanted, chunk_dtype, command_dtype, feedback_dtype
from wall_edge.runtime.schedule import Chunk
from wall_edge.runtime.servo import summary
from wall_edge.runtime.servo_loop import ServoLoop
from wall_edge.runtime.shared import SharedRecord
from wall_edge.runtime.states import TRANSITIONS, Event, State, next_state
from wall_edge.runtime.trace import Trace

MS = 1_000_000
P = 10 * MS
JOINTS = [
    {"name": "pan", "id": 1, "lower": -1.0, "upper": 1.0, "max_velocity": 2.0},
    {"name": "lift", "id": 2, "lower": -1.0, "upper": 1.0, "max_velocity": 2.0},
]
CONFIG = from_mapping(
    RobotConfig,
    {
        "name": "test",
        "bundle": "none",
        "control": {"rate_hz": 100, "rest": [0.0, -0.5], "rest_velocity": 1.0, "feedback_timeout_ms": 50},
        "drive": {"port": "/dev/null", "timeout_ms": 5, "joints": JOINTS},
        "cameras": {},
    },
    "test",
)


class FakeDrive(Drive):
    """Joints that are where they were told to be; ``broken`` maps a call's name to what it raises."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__([JointSpec(**joint) for joint in JOINTS])  # type: ignore[arg-type]
        self._clock = clock
        self.position = np.array([0.2, 0.2])
        self.broken: dict[str, Exception] = {}
        self.faults: tuple[tuple[str, ...], ...] = ((), ())
        self.calls: list[str] = []
        self.written: list[npt.NDArray[np.float64]] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise self.broken[name]

    def connect(self) -> None:
        self._call("connect")

    def enable(self) -> None:
        self._call("enable")

    def disable(self) -> None:
        self._call("disable")

    def close(self) -> None:
        self._call("close")

    def arm_watchdog(self, timeout_s: float) -> bool:  # noqa: ARG002
        return False

    def write(self, setpoints: npt.ArrayLike, deadline_ns: int) -> None:
        assert deadline_ns > self._clock()
        self._call("write")
        self.position = np.array(setpoints, np.float64)
        self.written.append(self.position)

    def read(self, deadline_ns: int) -> Feedback:
        assert deadline_ns > self._clock()
        self._call("read")
        now = self._clock()
        return Feedback(self.position.copy(), now, np.full(2, now), self.faults)


class Rig:
    """A loop whose time passes only in its sleep, where ``each_tick`` plays supervisor and policy."""

    def __init__(self, config: RobotConfig = CONFIG) -> None:
        self.now = 1_000_000 * MS
        self.chunks = SharedRecord(chunk_dtype(8, 2))
        self.command = SharedRecord(command_dtype())
        self.feedback = SharedRecord(feedback_dtype(2))
        self.drive = FakeDrive(lambda: self.now)
        self.script: dict[int, Callable[[], object]] = {}
        self.wanted, self.epoch, self.heart_beats = Wanted.HOLD, 1, True
        self.signalled = False
        self.states: list[State] = []
        self.tell()
        self.loop = ServoLoop(
            config,
            self.open,
            self.chunks,
            self.command,
            self.feedback,
            clock=lambda: self.now,
            sleep=self.sleep,
            stop_requested=lambda: self.signalled,
        )

    def open(self) -> Drive:
        self.drive._call("open")
        return self.drive

    def sleep(self, deadline_ns: int) -> None:
        self.now = max(self.now, deadline_ns)
        tick = self.loop.ticker.ticks
        assert tick < 2000, "the loop does not end"
        self.states.append(self.loop.state)
        if tick in self.script:
            self.script[tick]()
        if self.heart_beats:
            self.tell()

    def tell(self, wanted: Wanted | None = None, epoch: int | None = None) -> None:
        self.wanted = self.wanted if wanted is None else wanted
        self.epoch = self.epoch if epoch is None else epoch
        record = np.zeros(1, command_dtype())[0]
        record["wanted"], record["epoch"], record["heartbeat_ns"] = self.wanted, self.epoch, self.now
        self.command.write(record)

    def send(
        self, positions: npt.ArrayLike, index: int = 1, dt_ms: int = 20, epoch: int | None = None
    ) -> None:
        record = np.zeros(1, chunk_dtype(8, 2))[0]
        steps = np.array(positions, np.float64)
        Chunk(index, self.now, dt_ms * MS, self.epoch if epoch is None else epoch, steps).fill(record)
        self.chunks.write(record)

    def run(self, **script: Callable[[], object]) -> ServoLoop:
        """``t5=…`` is called just before tick 5; the supervisor stops the arm at tick 100 by default."""
        self.script = {100: lambda: self.tell(Wanted.STOP)} | {int(k[1:]): v for k, v in script.items()}
        self.loop.run()
        return self.loop

    def last(self) -> Any:
        return self.feedback.read()


def test_the_table_is_complete() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(Event.FAULT in TRANSITIONS[s] for s in State if s is not State.FAULT)
    assert TRANSITIONS[State.FAULT] == {}
    assert set(TRANSITIONS[State.RELEASED]) == {Event.FAULT}  # torque that did not go off
    with pytest.raises(RuntimeFault, match="'chunk' while FAULT"):
        next_state(State.FAULT, Event.CHUNK)


def test_holds_follows_starves_and_rests() -> None:
    rig = Rig()
    steps = [[0.2, 0.2], [0.22, 0.2], [0.24, 0.2], [0.26, 0.2]]
    loop = rig.run(t5=lambda: rig.tell(Wanted.FOLLOW), t10=lambda: rig.send(steps))
    order = [change.after for change in loop.machine.transitions]
    assert order == [State.HOLDING, State.FOLLOWING, State.HOLDING, State.STOPPING, State.RELEASED]
    assert loop.waiting_ticks == 5
    assert loop.starved_ticks == 100 - 10 - 7  # a chunk of 60 ms fills 7 ticks, both ends included
    np.testing.assert_allclose(rig.drive.written[16], [0.26, 0.2], atol=1e-12)
    np.testing.assert_array_equal(rig.drive.written[99], rig.drive.written[16])
    np.testing.assert_array_equal(rig.drive.position, CONFIG.control.rest)
    assert rig.drive.calls[:4] == ["open", "connect", "read", "enable"]
    assert rig.drive.calls[-2:] == ["disable", "close"]
    assert State(rig.last()["state"]) is State.RELEASED
    assert loop.machine.fault is None


def test_every_written_setpoint_is_within_limits_and_rest_speed() -> None:
    rig = Rig()
    rig.tell(Wanted.FOLLOW)
    loop = rig.run(t3=lambda: rig.send([[9.0, -9.0], [-9.0, 9.0]], dt_ms=200))
    written = np.array([[0.2, 0.2], *rig.drive.written])
    assert np.abs(written).max() <= 1.0
    steps = np.abs(np.diff(written, axis=0)).max(axis=1)
    assert steps.max() <= 2.0 * 0.01 + 1e-12
    assert steps[101:].max() <= 1.0 * 0.01 + 1e-12
    assert loop.limiter.counts()["velocity"] != [0, 0]
    assert loop.limiter.counts()["position"] != [0, 0]


def test_setpoints_follow_the_chunk_by_time() -> None:
    rig = Rig()
    rig.tell(Wanted.FOLLOW)
    rig.run(t1=lambda: rig.send([[0.2, 0.2], [0.22, 0.24]], dt_ms=40))
    np.testing.assert_allclose(
        rig.drive.written[1:6], [[0.2 + k * 0.005, 0.2 + k * 0.01] for k in range(5)], atol=1e-12
    )


def test_a_newer_chunk_takes_over() -> None:
    rig = Rig()
    rig.tell(Wanted.FOLLOW)
    script = {f"t{t}": (lambda i=t: rig.send([[0.2, 0.2]] * 4, index=i)) for t in range(2, 100, 5)}
    loop = rig.run(**script)
    assert loop.starved_ticks == 0
    assert loop.track.taken == len(script)


def test_a_new_epoch_waits_and_is_not_starved() -> None:
    rig = Rig()
    rig.tell(Wanted.FOLLOW)
    loop = rig.run(
        t0=lambda: rig.send([[0.2, 0.2]] * 8, dt_ms=1000),
        t20=lambda: rig.tell(epoch=2),
        t25=lambda: rig.send([[0.3, 0.3]] * 8, index=9, epoch=1),
        t30=lambda: rig.send([[0.2, 0.2]] * 8, index=0, dt_ms=1000),
    )
    assert loop.waiting_ticks == 10
    assert loop.starved_ticks == 0
    assert loop.track.refused["epoch"] >= 1


def test_a_chunk_that_comes_before_its_epoch_is_not_lost() -> None:
    rig = Rig()
    rig.tell(Wanted.FOLLOW)
    loop = rig.run(t10=lambda: rig.send([[0.2, 0.2]] * 8, epoch=2, dt_ms=1000), t12=lambda: rig.tell(epoch=2))
    assert loop.waiting_ticks == 12
    assert loop.track.taken == 1


def test_hold_stops_following() -> None:
    rig = Rig()
    rig.tell(Wanted.FOLLOW)
    loop = rig.run(t0=lambda: rig.send([[0.2, 0.2]] * 8, dt_ms=1000), t20=lambda: rig.tell(Wanted.HOLD))
    assert [c.after for c in loop.machine.transitions][1:3] == [State.FOLLOWING, State.HOLDING]
    assert loop.starved_ticks == 0


@pytest.mark.parametrize("way", ["signal", "silence"])
def test_other_ways_to_rest(way: str) -> None:
    rig = Rig()
    loop = rig.run(
        t10=lambda: setattr(rig, "signalled" if way == "signal" else "heart_beats", way == "signal"),
        t100=lambda: None,
    )
    stop = next(c for c in loop.machine.transitions if c.after is State.STOPPING)
    assert stop.reason == {"signal": "signal", "silence": "supervisor silent"}[way]
    assert rig.states.index(State.STOPPING) == {"signal": 11, "silence": 111}[way]
    assert loop.state is State.RELEASED
    np.testing.assert_array_equal(rig.drive.written[-1], CONFIG.control.rest)


def test_a_stop_before_the_start_never_turns_torque_on() -> None:
    rig = Rig()
    rig.tell(Wanted.STOP)
    assert rig.run().state is State.RELEASED
    assert "enable" not in rig.drive.calls
    assert rig.drive.written == []


def test_a_blocked_arm_is_released_all_the_same() -> None:
    rig = Rig()
    rig.drive.write = lambda *_: None  # type: ignore[method-assign]
    assert rig.run().state is State.RELEASED


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"open": BusError("no such port")}, "no such port"),
        ({"connect": BusTimeout("no answer from pan")}, "no answer from pan"),
        ({"read": BusTimeout("silent")}, "feedback is missing"),
        ({"enable": DriveError("torque stayed off")}, "torque stayed off"),
    ],
)
def test_denied_starts(broken: dict[str, Exception], words: str) -> None:
    rig = Rig()
    rig.drive.broken = broken
    loop = rig.run()
    assert loop.state is State.FAULT
    assert words in str(loop.machine.fault)
    assert rig.drive.written == []
    assert ("disable" in rig.drive.calls) == ("open" not in broken)
    assert State(rig.last()["state"]) is State.FAULT


@pytest.mark.parametrize(("start", "allowed"), [(1.04, True), (1.06, False), (-1.06, False), (np.nan, False)])
def test_a_start_outside_the_limits(start: float, allowed: bool) -> None:
    rig = Rig()
    rig.drive.position = np.array([0.0, start])
    loop = rig.run()
    assert (loop.state is State.RELEASED) == allowed
    if allowed:
        assert np.max(rig.drive.written) <= 1.0
    else:
        assert "lift starts at" in str(loop.machine.fault)
        assert "enable" not in rig.drive.calls


def test_one_lost_answer_is_no_fault() -> None:
    rig = Rig()
    rig.drive.broken = {}
    loop = rig.run(
        t10=lambda: rig.drive.broken.update(read=BusTimeout("lost"), write=BusTimeout("full")),
        t14=lambda: rig.drive.broken.clear(),
    )
    assert loop.state is State.RELEASED
    assert loop.joints.cycles == loop.ticker.ticks - 4


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"read": BusTimeout("lost")}, "feedback is 60 ms old"),
        ({"read": OSError("unplugged")}, "feedback is"),
        ({"write": BusError("gone")}, "no setpoint reached the bus for"),
        ({"read": DriveError("overload")}, "overload"),
        ({"write": DriveError("refused")}, "refused"),
    ],
)
def test_faults_latch_hold_and_release(broken: dict[str, Exception], words: str) -> None:
    rig = Rig()
    loop = rig.run(t10=lambda: rig.drive.broken.update(broken), t30=rig.drive.broken.clear)
    assert loop.state is State.FAULT
    assert words in str(loop.machine.fault)
    assert rig.drive.calls[-2:] == ["disable", "close"]
    assert all((held == rig.drive.written[0]).all() for held in rig.drive.written)
    if "read" in broken:
        assert 100 <= rig.states.count(State.FAULT) <= 101


def test_a_motors_fault_is_named() -> None:
    rig = Rig()
    loop = rig.run(t10=lambda: setattr(rig.drive, "faults", ((), ("overload", "overheat"))))
    assert "joint lift reports overload, overheat" in str(loop.machine.fault)


def test_torque_that_cannot_be_taken_off_is_said() -> None:
    rig = Rig()
    rig.drive.broken = {"disable": BusError("gone")}
    loop = rig.run()
    assert loop.state is State.FAULT
    assert "torque may still be on: gone" in str(loop.machine.fault)


def test_a_bug_still_takes_torque_off() -> None:
    rig = Rig()
    with pytest.raises(ZeroDivisionError):
        rig.run(t10=lambda: rig.drive.broken.update(read=ZeroDivisionError("oops")))
    assert rig.drive.calls[-2:] == ["disable", "close"]
    assert rig.loop.state is State.FAULT
    assert "bug in the servo loop" in str(rig.loop.machine.fault)


def test_the_summary_adds_up() -> None:
    rig = Rig()
    rig.tell(Wanted.FOLLOW)
    loop = rig.run(t10=lambda: rig.send([[0.2, 0.2]] * 8))
    result: dict[str, Any] = summary(loop, RealtimeReport(()))
    assert result["rate_hz"] == pytest.approx(100.0)
    assert result["bus"]["cycles_hz"] == pytest.approx(100.0)
    assert result["bus"]["errors"] == 0
    assert result["bus"]["detail"]["timeouts"] == 0
    assert result["overruns"] == result["skipped"] == 0
    assert result["fault"] is None
    assert sum(result["lateness_us"]["histogram"]["counts"]) == result["ticks"]
    trace = result["trace"]
    assert trace["setpoint"].shape == trace["position"].shape == (len(trace["time_ns"]), 2)
    assert (np.diff(trace["time_ns"]) >= 0).all()
    assert set(trace["chunk_index"]) == {-1, 1}
    assert abs(len(trace["time_ns"]) - result["ticks"] / 2) <= 3


def test_an_empty_run_has_a_summary_too() -> None:
    rig = Rig()
    rig.drive.broken = {"open": BusError("no such port")}
    result = summary(rig.run(), RealtimeReport(()))
    assert result["ticks"] == result["rate_hz"] == 0
    assert result["state"] == "FAULT"


def test_the_trace_keeps_the_newest() -> None:
    trace = Trace(1, tick_hz=120.0, capacity=5)
    assert trace.every == 3
    for n in range(8):
        trace.add(n, 0, 0, (n, n), np.zeros(1), np.ones(1))
    assert trace.columns()["time_ns"].tolist() == [3, 4, 5, 6, 7]


def test_starvation_is_judged_at_the_tick() -> None:
    """A chunk that has run out before it arrives starves; one of a single step holds for one instant."""
    rig = Rig(replace(CONFIG))
    rig.tell(Wanted.FOLLOW)
    loop = rig.run(t50=lambda: rig.send([[0.2, 0.2]]))
    assert loop.waiting_ticks == 50
    assert loop.starved_ticks == 49
