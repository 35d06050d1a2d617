"""The servo loop, tick by tick, with a drive and a clock that the test owns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives import Fault, Reaction

from tests.servo_rig import CONFIG, REHEARSALS, Rig, require_within_limits, speeds
from wall_edge.errors import BusError, BusTimeout, DriveError
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, ServoState

# rad, a third of an encoder's count. Ruckig's switches fall between ticks, where the limiter's loop rounds
# the corner: equality is not to be had.
AT_REST = 5e-4
OVERLOAD = (Fault("overload", Reaction.CHECK), Fault("overheat", Reaction.PERSON))
# Begins and ends at rest, and its B-spline keeps the limits: it is followed as it is.
GENTLE = [
    [0.2, 0.2],
    [0.2, 0.2],
    [0.21, 0.2],
    [0.23, 0.2],
    [0.25, 0.2],
    [0.26, 0.2],
    [0.26, 0.2],
    [0.26, 0.2],
]


def test_holds_follows_starves_and_rests() -> None:
    rig = Rig()
    loop = rig.run(t5=lambda: rig.tell(ServoCommand.FOLLOW), t10=lambda: rig.send(GENTLE, dt_ms=40))
    assert rig.order() == [
        ServoState.HOLDING,
        ServoState.FOLLOWING,
        ServoState.SLOWING,
        ServoState.HOLDING,
        ServoState.STOPPING,
        ServoState.RELEASED,
    ]
    assert loop.pilot.waiting_ticks == 5
    assert loop.pilot.starved_ticks == 100 - 10 - 28  # a chunk of 280 ms fills 28 ticks
    np.testing.assert_allclose(rig.drive.written[37], [0.26, 0.2], atol=1e-9)
    np.testing.assert_allclose(rig.drive.written[38], rig.drive.written[37], atol=1e-9)
    np.testing.assert_array_equal(rig.drive.written[99], rig.drive.written[38])
    np.testing.assert_allclose(rig.drive.position, CONFIG.control.rest, atol=AT_REST)
    start = ["open", "connect", "read", *["read"] * REHEARSALS, "arm", "read", "enable"]
    assert rig.drive.calls[: len(start)] == start
    assert rig.drive.calls[-2:] == ["disable", "close"]
    assert ServoState(rig.last()["state"]) is ServoState.RELEASED
    assert loop.machine.fault is None


def test_every_written_setpoint_is_within_limits_and_rest_speed() -> None:
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    loop = rig.run(t3=lambda: rig.send([[2.9, -2.9], [-2.9, 2.9]], dt_ms=200))
    assert loop.pilot.track.taken == 1
    require_within_limits(rig.drive.written, start=[0.2, 0.2])
    assert speeds(rig.drive.written)[99:].max() <= CONFIG.control.rest_velocity
    assert loop.pilot.limiter.counts()["velocity"] != [0, 0]
    assert loop.pilot.limiter.counts()["position"] != [0, 0]


def test_setpoints_follow_the_chunk_by_time() -> None:
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    rig.run(t1=lambda: rig.send(GENTLE, dt_ms=40))
    steps = np.array(GENTLE)
    # Step 0 is due as the chunk is taken, before tick 1; the others every fourth tick.
    due = rig.drive.written[4::4][:7]
    np.testing.assert_allclose(rig.drive.written[0], steps[0], atol=1e-12)
    # A uniform cubic B-spline is (1, 4, 1) / 6 of its control points where they are due; the tolerance is
    # for what the limiter's loop leaves of rounding.
    np.testing.assert_allclose(due[:6], (steps[:-2] + 4 * steps[1:-1] + steps[2:]) / 6, atol=1e-9)
    np.testing.assert_allclose(due[6], steps[7], atol=1e-9)


def test_a_newer_chunk_takes_over() -> None:
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    script = {f"t{t}": (lambda i=t: rig.send([[0.2, 0.2]] * 4, index=i)) for t in range(2, 100, 5)}
    loop = rig.run(**script)
    assert loop.pilot.starved_ticks == 0
    assert loop.pilot.track.taken == len(script)


def test_a_new_epoch_waits_and_is_not_starved() -> None:
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    loop = rig.run(
        t0=lambda: rig.send([[0.2, 0.2]] * 8, dt_ms=1000),
        t20=lambda: rig.tell(epoch=2),
        t25=lambda: rig.send([[0.3, 0.3]] * 8, index=9, epoch=1),
        t30=lambda: rig.send([[0.2, 0.2]] * 8, index=0, dt_ms=1000),
    )
    assert loop.pilot.waiting_ticks == 10
    assert loop.pilot.starved_ticks == 0
    assert loop.pilot.track.refused["epoch"] >= 1


def test_a_chunk_that_comes_before_its_epoch_is_not_lost() -> None:
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    loop = rig.run(t10=lambda: rig.send([[0.2, 0.2]] * 8, epoch=2, dt_ms=1000), t12=lambda: rig.tell(epoch=2))
    assert loop.pilot.waiting_ticks == 12
    assert loop.pilot.track.taken == 1


def test_hold_stops_following() -> None:
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    loop = rig.run(t0=lambda: rig.send([[0.2, 0.2]] * 8, dt_ms=1000), t20=lambda: rig.tell(ServoCommand.HOLD))
    assert rig.order()[1:4] == [ServoState.FOLLOWING, ServoState.SLOWING, ServoState.HOLDING]
    assert loop.pilot.starved_ticks == 0


@pytest.mark.parametrize("way", ["signal", "silence"])
def test_other_ways_to_rest(way: str) -> None:
    rig = Rig()
    loop = rig.run(
        t10=lambda: setattr(rig, "signalled" if way == "signal" else "heart_beats", way == "signal"),
        t100=lambda: None,
    )
    stop = next(c for c in loop.machine.transitions if c.after is ServoState.STOPPING)
    assert stop.reason == {"signal": "signal", "silence": "supervisor silent"}[way]
    assert rig.states.index(ServoState.STOPPING) == {"signal": 11, "silence": 111}[way]
    assert loop.state is ServoState.RELEASED
    np.testing.assert_allclose(rig.drive.written[-1], CONFIG.control.rest, atol=AT_REST)
    require_within_limits(rig.drive.written, start=[0.2, 0.2])


def test_a_stop_before_the_start_never_turns_torque_on() -> None:
    rig = Rig()
    rig.tell(ServoCommand.STOP)
    assert rig.run().state is ServoState.RELEASED
    assert "enable" not in rig.drive.calls
    assert rig.drive.written == []


def test_a_blocked_arm_is_released_all_the_same() -> None:
    rig = Rig()
    rig.drive.write = lambda *_: None  # type: ignore[method-assign]
    assert rig.run().state is ServoState.RELEASED


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
    assert loop.state is ServoState.FAULT
    assert words in str(loop.machine.fault)
    assert rig.drive.written == []
    # A7: an arm that was held is not dropped; only what was switched on here is switched off.
    assert ("disable" in rig.drive.calls) == ("enable" in broken)
    assert ServoState(rig.last()["state"]) is ServoState.FAULT


@pytest.mark.parametrize(("start", "allowed"), [(1.04, True), (1.06, False), (-1.06, False), (np.nan, False)])
def test_a_start_outside_the_limits(start: float, allowed: bool) -> None:
    rig = Rig()
    rig.drive.position = np.array([0.0, start])
    loop = rig.run()
    assert (loop.state is ServoState.RELEASED) == allowed
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
    assert loop.state is ServoState.RELEASED
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
    assert loop.state is ServoState.FAULT
    assert words in str(loop.machine.fault)
    assert rig.drive.calls[-2:] == ["disable", "close"]
    assert all((held == rig.drive.written[0]).all() for held in rig.drive.written)
    if "read" in broken:
        assert 100 <= rig.states.count(ServoState.FAULT) <= 101


@pytest.mark.parametrize("error", [DriveError("overload"), BusTimeout("lost")])
def test_a_faulted_arm_gets_a_setpoint_every_tick(error: Exception) -> None:
    """The tick that found the fault wrote none: the joints stood for a tick, then went on braking."""
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    ticks: list[int] = []
    write = rig.drive.write

    def noted(*given: Any) -> None:
        ticks.append(rig.loop.ticker.ticks)
        write(*given)

    rig.drive.write = noted  # type: ignore[method-assign]
    away = np.array([0.2, 0.2]) - np.arange(8)[:, None] * np.array([0.15, 0.15])
    loop = rig.run(t5=lambda: rig.send(away, dt_ms=100), t45=lambda: rig.drive.broken.update(read=error))
    assert loop.state is ServoState.FAULT
    assert speeds(rig.drive.written)[44] > 1.0
    assert ticks == list(range(1, len(ticks) + 1))
    require_within_limits(rig.drive.written, start=[0.2, 0.2])


def test_a_motors_fault_is_named() -> None:
    rig = Rig()
    loop = rig.run(t10=lambda: setattr(rig.drive, "faults", ((), OVERLOAD)))
    assert str(loop.machine.fault) == (
        "joint lift reports overload, overheat; remove the cause, then power-cycle the motor"
    )


def test_torque_that_cannot_be_taken_off_is_said() -> None:
    rig = Rig()
    rig.drive.broken = {"disable": BusError("gone")}
    loop = rig.run()
    assert loop.state is ServoState.FAULT
    assert "torque may still be on: gone" in str(loop.machine.fault)


def test_a_bug_still_takes_torque_off() -> None:
    rig = Rig()
    with pytest.raises(ZeroDivisionError):
        rig.run(t10=lambda: rig.drive.broken.update(read=ZeroDivisionError("oops")))
    assert rig.drive.calls[-2:] == ["disable", "close"]
    assert rig.loop.state is ServoState.FAULT
    assert "bug in the servo loop" in str(rig.loop.machine.fault)


def test_the_summary_adds_up() -> None:
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    rig.run(t10=lambda: rig.send([[0.2, 0.2]] * 8))
    result = rig.summary()
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
    rig.run()
    result = rig.summary()
    assert result["ticks"] == result["rate_hz"] == 0
    assert result["state"] == "FAULT"


def test_starvation_is_judged_at_the_tick() -> None:
    """A chunk of a single step is no motion: from its very tick on there is nothing to follow."""
    rig = Rig()
    rig.tell(ServoCommand.FOLLOW)
    loop = rig.run(t50=lambda: rig.send([[0.2, 0.2]]))
    assert loop.pilot.waiting_ticks == 50
    assert loop.pilot.starved_ticks == 50
    assert ServoState.FOLLOWING not in rig.order()
