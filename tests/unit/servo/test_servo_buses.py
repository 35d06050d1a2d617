"""Several buses in one tick, watchdogs, faults and limiters: what a robot of several drives must keep."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives import Fault, Reaction

from tests.servo_rig import CONFIG, DT, JOINTS, MS, Rig, require_within_limits, speeds
from wall_edge.config import robot_from_mapping
from wall_edge.errors import BusError, BusTimeout, DriveError
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, ServoState
from wall_edge.runtime.telemetry.servo.types import EventKind
from wall_edge.runtime.telemetry.servo.watchdogs import watchdog_words

TWO = robot_from_mapping(
    {
        "name": "test",
        "bundle": "none",
        "control": {"rate_hz": 100, "rest": [0.0, -0.5], "rest_velocity": 1.0, "feedback_timeout_ms": 50},
        "drives": {
            "left": {"kind": "feetech", "port": "/dev/null", "timeout_ms": 5},
            "right": {"kind": "feetech", "port": "/dev/zero", "timeout_ms": 7},
        },
        "joints": [{**JOINTS[0], "drive": "left"}, {**JOINTS[1], "drive": "right", "id": 1}],
        "cameras": {},
    },
    "test",
)
DASH = 0.2 - np.arange(8)[:, None] * np.array([0.15, 0.15])
AT_SPEED = 45
"""The tick before which DASH, sent before tick 5, has the joints at more than 1 rad/s."""


def dash(rig: Rig, **script: Any) -> Rig:
    rig.tell(ServoCommand.FOLLOW)
    rig.run(t5=partial(rig.send, DASH, dt_ms=100), **script)
    return rig


def told(rig: Rig, kind: EventKind) -> list[Any]:
    return [event for event in rig.rings.reader().events() if event.kind is kind]


def path(rig: Rig, drive: str) -> list[Any]:
    """What one drive of TWO was sent, as both joints': they were sent the same."""
    return [np.repeat(position, 2) for position in rig.drives[drive].written]


def test_setpoints_are_of_one_motion_and_say_when_they_are_due() -> None:
    rig = Rig()
    begun: list[int] = []
    dash(rig, **{f"t{t}": lambda: begun.append(rig.now) for t in range(10, 40)})
    sent = rig.drive.sent[10:40]
    assert [setpoints.due_ns for setpoints in sent] == [now + 10 * MS for now in begun]
    position, velocity = np.array([s.position for s in sent]), np.array([s.velocity for s in sent])
    acceleration = np.array([s.acceleration for s in sent])
    # Acceleration is linear within a tick: the trapezoid is exact for velocity, Simpson's rule for position.
    np.testing.assert_allclose(np.diff(velocity, axis=0), DT * (acceleration[1:] + acceleration[:-1]) / 2)
    middle = (velocity[1:] + velocity[:-1]) / 2 - DT * np.diff(acceleration, axis=0) / 12
    np.testing.assert_allclose(np.diff(position, axis=0), DT * middle, atol=1e-12)
    assert np.abs(velocity).max() > 1.0
    assert not any(setpoints.effort.any() for setpoints in rig.drive.sent)


def test_two_buses_are_one_arm() -> None:
    one, two = dash(Rig()), dash(Rig(TWO))
    both = np.concatenate([two.drives["left"].written, two.drives["right"].written], axis=1)
    np.testing.assert_array_equal(both, one.drive.written)
    assert two.loop.joints.cycles == one.loop.joints.cycles == one.loop.ticker.ticks


@pytest.mark.parametrize("half", ["write", "read"])
def test_a_dead_bus_is_named_and_the_other_brakes_on_time(half: str) -> None:
    rig, gone = Rig(TWO), BusError("the adapter vanished")
    begun: dict[int, int] = {}
    note = {f"t{t}": lambda t=t: begun.update({t: rig.now}) for t in range(46, 120)}
    dash(rig, **{f"t{AT_SPEED}": lambda: rig.drives["left"].broken.update({half: gone})}, **note)
    fault = str(rig.loop.machine.fault)
    assert fault.startswith(
        "feedback of joint pan is 60 ms old; left: the adapter vanished; expected at most"
    )
    failed = rig.states.index(ServoState.FAULT)
    assert failed == AT_SPEED + 6
    right = path(rig, "right")
    assert speeds(right)[failed - 2] > 1.0
    assert speeds(right)[-1] == 0.0
    require_within_limits(right, [0.2, 0.2])
    assert len(right) == rig.loop.ticker.ticks  # every tick of the braking, and the whole hold
    assert rig.states.count(ServoState.FAULT) > 100
    for drive in rig.drives.values():
        assert drive.calls[-2:] == ["disable", "close"]


def test_a_silent_bus_does_not_slow_down_the_braking() -> None:
    """Each tick of it would wait for the whole timeout of the bus, and the arm brake as slowly."""
    slow = {name: replace(settings, timeout_ms=25) for name, settings in TWO.drives.items()}
    rig = Rig(replace(TWO, drives=slow))
    left, right = rig.drives["left"], rig.drives["right"]
    overruns: list[int] = []

    def silent() -> None:
        rig.now = left.deadlines[-1]  # it waits until then
        raise BusTimeout("nothing came")

    def beside() -> None:
        assert right.deadlines[-1] <= left.deadlines[-1]  # both buses wait at the same time
        if rig.loop.state is ServoState.FAULT:
            overruns.append(rig.loop.ticker.overruns)

    def begin() -> None:
        left.takes, right.takes = silent, beside

    dash(rig, **{f"t{AT_SPEED}": begin})
    assert rig.loop.state is ServoState.FAULT
    assert overruns[0] > 0
    assert overruns[-1] <= overruns[0] + 1  # that of the tick which found the fault
    assert len(overruns) > 100


def test_a_fault_on_one_bus_brakes_the_other() -> None:
    rig = Rig(TWO)
    stuck = ((Fault("overheat", Reaction.CHECK),),)
    dash(rig, **{f"t{AT_SPEED}": lambda: setattr(rig.drives["right"], "faults", stuck)})
    assert str(rig.loop.machine.fault).startswith(
        "joint lift reports overheat; remove the cause (let it cool"
    )
    assert rig.states.index(ServoState.FAULT) == AT_SPEED + 1  # noticed in the cycle in which it was said
    for name in ("left", "right"):
        require_within_limits(path(rig, name), [0.2, 0.2])
        assert speeds(path(rig, name))[AT_SPEED - 2] > 1.0
        assert speeds(path(rig, name))[-1] == 0.0


@pytest.mark.parametrize(
    ("faults", "fix"),
    [
        ([Reaction.ONCE], "it clears by itself at the next start, once"),
        ([Reaction.ONCE, Reaction.CHECK], "remove the cause (let it cool, mend its supply)"),
        ([Reaction.CHECK, Reaction.PERSON], "remove the cause, then power-cycle the motor"),
    ],
)
def test_the_fix_is_that_of_the_gravest_fault(faults: list[Reaction], fix: str) -> None:
    rig = Rig()
    words = tuple(Fault(f"fault{n}", reaction) for n, reaction in enumerate(faults))
    rig.run(t10=lambda: setattr(rig.drive, "faults", (words, ())))
    assert fix in str(rig.loop.machine.fault)


def test_limiters_are_told_once_counted_and_no_fault() -> None:
    rig = Rig()
    loop = rig.run(
        t10=lambda: setattr(rig.drive, "limiters", ((), ("current",))),
        t20=lambda: setattr(rig.drive, "limiters", (("speed",), ("current",))),
        t25=lambda: setattr(rig.drive, "limiters", ((), ())),
    )
    assert loop.state is ServoState.RELEASED
    assert [(event.name, event.text) for event in told(rig, EventKind.LIMITER)] == [
        ("lift", "current"),
        ("pan", "speed"),
    ]
    bus = rig.summary()["bus"]
    assert bus["limited_cycles"] == 15
    assert bus["limited_by"] == {"lift": ["current"], "pan": ["speed"]}


class TestWatchdogs:
    def test_each_is_armed_before_torque_and_told(self) -> None:
        rig = Rig(TWO)
        rig.drives["left"].watchdog_note = "too old"
        rig.drives["right"].watchdog_s = 0.256
        rig.run()
        for drive in rig.drives.values():
            assert drive.armed == [pytest.approx(25 * DT)]
            assert drive.calls.index("arm") < drive.calls.index("enable")
        events = [(event.name, event.values[0], event.text) for event in told(rig, EventKind.WATCHDOG)]
        assert events == [("left", -1, "too old"), ("right", 256_000, "")]
        drives = rig.summary()["bus"]["drives"]
        assert {name: each["watchdog_s"] for name, each in drives.items()} == {"left": None, "right": 0.256}
        assert {each["kind"] for each in drives.values()} == {"feetech"}
        words = watchdog_words(drives)
        assert (
            words
            == "watchdog: left (feetech) has none (too old): the heartbeat stands in; right (feetech) 256 ms"
        )

    def test_one_that_reads_back_otherwise_forbids_torque(self) -> None:
        rig = Rig(TWO)
        rig.drives["right"].broken["arm"] = DriveError("the watchdog reads back 0 ms")
        rig.run()
        assert rig.loop.machine.fault == "the watchdog reads back 0 ms"
        assert not any("enable" in drive.calls for drive in rig.drives.values())
        assert not rig.loop.touched


def test_torque_goes_off_on_the_bus_that_is_left() -> None:
    rig = Rig(TWO)
    rig.drives["left"].broken["disable"] = BusError("vanished")
    rig.run()
    assert "torque may still be on: vanished" in str(rig.loop.machine.fault)
    assert "disable" in rig.drives["right"].calls


def test_counters_outlive_a_port_that_is_opened_again() -> None:
    rig = Rig(TWO)
    left = rig.drives["left"]
    left.broken["disable"] = BusError("vanished")

    def count() -> None:
        left.counters.timeouts, rig.drives["right"].counters.late = 3, 2

    opened = rig.loop._torque_off._open_drives

    def again() -> Any:
        rig.drives = {name: type(drive)(drive.joints, lambda: rig.now) for name, drive in rig.drives.items()}
        return opened()

    rig.loop._torque_off._open_drives = again
    rig.run(t10=count)
    bus = rig.summary()["bus"]
    assert bus["errors"] == bus["detail"]["timeouts"] == bus["drives"]["left"]["timeouts"] == 3
    assert bus["drives"]["right"]["late"] == bus["detail"]["late"] == 2


def test_another_program_is_told_by_the_bus_it_is_on() -> None:
    rig = Rig(TWO)
    rig.run(t10=lambda: setattr(rig.drives["right"].counters, "foreign", 3))
    assert str(rig.loop.machine.fault).startswith("3 packets on the bus of right answered nothing")
    one = Rig(TWO)
    one.run(t10=lambda: [setattr(drive.counters, "foreign", 2) for drive in one.drives.values()])
    assert one.loop.machine.fault is None


def test_config_of_one_bus_is_the_same_arm() -> None:
    assert [joint.name for joint in TWO.joints] == [joint.name for joint in CONFIG.joints]


def test_a_tick_without_room_on_the_bus_does_not_end_the_braking() -> None:
    """Lost once: one full send queue while it braked, and the arm fell at speed."""
    rig = Rig()
    full = BusTimeout("the send queue is full")
    script = {
        f"t{AT_SPEED}": lambda: setattr(rig.drive, "faults", ((Fault("overheat", Reaction.CHECK),), ())),
        f"t{AT_SPEED + 3}": lambda: rig.drive.broken.update(write=full),
        f"t{AT_SPEED + 4}": rig.drive.broken.clear,
    }
    dash(rig, **script)
    assert rig.states.count(ServoState.FAULT) > 100
    assert speeds(rig.drive.written)[-1] == 0.0
    assert len(rig.drive.written) == rig.loop.ticker.ticks - 1
