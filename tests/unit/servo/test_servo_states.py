"""The servo loop's state table, row by row, and how the arm moves where it changes state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from wall_edge_bridge.drives import Setpoints

from tests.servo_rig import CONFIG, DT, MS, REHEARSALS, Rig, controlled, require_within_limits, speeds
from wall_edge.config import RobotConfig
from wall_edge.errors import DriveError, RuntimeFault
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, ServoState
from wall_edge.runtime.servo.states import TRANSITIONS, Event, StateMachine, next_state

# Written out again: a table that is compared with itself proves nothing.
ROWS = [
    (ServoState.STARTING, Event.READY, ServoState.HOLDING),
    (ServoState.STARTING, Event.STOP, ServoState.RELEASED),
    (ServoState.STARTING, Event.FAULT, ServoState.FAULT),
    (ServoState.STARTING, Event.EMERGENCY_STOP, ServoState.FAULT),
    (ServoState.HOLDING, Event.CHUNK, ServoState.FOLLOWING),
    (ServoState.HOLDING, Event.STOP, ServoState.STOPPING),
    (ServoState.HOLDING, Event.FAULT, ServoState.FAULT),
    (ServoState.HOLDING, Event.EMERGENCY_STOP, ServoState.FAULT),
    (ServoState.FOLLOWING, Event.RUN_OUT, ServoState.SLOWING),
    (ServoState.FOLLOWING, Event.HOLD, ServoState.SLOWING),
    (ServoState.FOLLOWING, Event.STOP, ServoState.STOPPING),
    (ServoState.FOLLOWING, Event.FAULT, ServoState.FAULT),
    (ServoState.FOLLOWING, Event.EMERGENCY_STOP, ServoState.FAULT),
    (ServoState.SLOWING, Event.CHUNK, ServoState.FOLLOWING),
    (ServoState.SLOWING, Event.STANDSTILL, ServoState.HOLDING),
    (ServoState.SLOWING, Event.STOP, ServoState.STOPPING),
    (ServoState.SLOWING, Event.FAULT, ServoState.FAULT),
    (ServoState.SLOWING, Event.EMERGENCY_STOP, ServoState.FAULT),
    (ServoState.STOPPING, Event.AT_REST, ServoState.RELEASED),
    (ServoState.STOPPING, Event.FAULT, ServoState.FAULT),
    (ServoState.STOPPING, Event.EMERGENCY_STOP, ServoState.FAULT),
    (ServoState.RELEASED, Event.FAULT, ServoState.FAULT),  # torque that did not go off
]
START = np.array([-0.8, -0.8])
# The 2 rad/s that the joints can do, for 0.5 s: at tick 45 of a run they move at full speed.
DASH = START + np.arange(6)[:, None] * np.array([0.2, 0.2])
# Where the script below has the arm in each state: it dashes off before tick 5 and runs out at tick 55.
AT = {
    ServoState.STARTING: -1,
    ServoState.HOLDING: 2,
    ServoState.FOLLOWING: 45,
    ServoState.SLOWING: 58,
    ServoState.STOPPING: 48,
}


def dash(config: RobotConfig = CONFIG) -> Rig:
    rig = Rig(config)
    rig.drive.position = START.copy()
    rig.tell(ServoCommand.FOLLOW)
    return rig


def run_dash(rig: Rig, **script: Callable[[], object]) -> None:
    rig.run(**{"t5": partial(rig.send, DASH, dt_ms=100)} | script)


def derivatives(
    written: list[npt.NDArray[np.float64]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Velocity [n - 1, dof] and acceleration [n - 2, dof] from differences."""
    path = np.array(written)
    return np.diff(path, axis=0) / DT, np.diff(path, n=2, axis=0) / DT**2


class TestTable:
    def test_it_is_complete(self) -> None:
        assert set(TRANSITIONS) == set(ServoState)
        assert {(s, e, after) for s in TRANSITIONS for e, after in TRANSITIONS[s].items()} == set(ROWS)
        assert sum(map(len, TRANSITIONS.values())) == len(ROWS)

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].name}-{row[1].name}")
    def test_every_row(self, row: tuple[ServoState, Event, ServoState]) -> None:
        before, event, after = row
        assert next_state(before, event) is after

    def test_every_other_pair_is_refused(self) -> None:
        allowed = {(before, event) for before, event, _ in ROWS}
        for before in ServoState:
            for event in Event:
                if (before, event) not in allowed:
                    with pytest.raises(RuntimeFault, match=f"'{event.value}' while {before.name}"):
                        next_state(before, event)

    def test_nothing_leads_out_of_a_fault_and_the_first_reason_stays_first(self) -> None:
        machine = StateMachine(lambda: 7)
        machine.fail("broken")
        machine.fail("worse", Event.EMERGENCY_STOP)
        assert machine.fault == "broken; then: worse"
        assert [(c.time_ns, c.before, c.after) for c in machine.transitions] == [
            (7, ServoState.STARTING, ServoState.FAULT)
        ]


def stopped(rig: Rig) -> Callable[[], object]:
    return partial(rig.tell, ServoCommand.STOP)


def emergency(rig: Rig) -> Callable[[], object]:
    return partial(rig.tell, ServoCommand.EMERGENCY_STOP)


def broken(rig: Rig) -> Callable[[], object]:
    return partial(rig.drive.broken.update, read=DriveError("overload"))


class TestEveryRowInTheLoop:
    # Once the arm is RELEASED the loop does nothing that could fail.
    @pytest.mark.parametrize(
        "row",
        [r for r in ROWS if r[0] is not ServoState.RELEASED],
        ids=lambda row: f"{row[0].name}-{row[1].name}",
    )
    def test_it_happens(self, row: tuple[ServoState, Event, ServoState]) -> None:
        before, event, after = row
        rig = dash()
        act = {Event.STOP: stopped, Event.EMERGENCY_STOP: emergency, Event.FAULT: broken}
        if event in act and before is ServoState.STARTING:
            act[event](rig)()
            run_dash(rig)
        elif event in act:
            stop = {"t45": stopped(rig)} if before is ServoState.STOPPING else {}
            run_dash(rig, **stop, **{f"t{AT[before]}": act[event](rig)})
        elif event is Event.HOLD:
            run_dash(rig, t45=partial(rig.tell, ServoCommand.HOLD))
        elif row[:2] == (ServoState.SLOWING, Event.CHUNK):
            run_dash(rig, t58=lambda: rig.send(DASH[::-1] * 0.5, index=2, dt_ms=100))
        else:
            run_dash(rig)
        assert (before, after) in [(c.before, c.after) for c in rig.loop.machine.transitions]
        if before in AT and before is not ServoState.STARTING and event in act:
            assert rig.states[AT[before]] is before  # the script's times mean what they say
        require_within_limits(rig.drive.written or [START], START)


class TestRunningOut:
    def test_it_slows_down_holds_and_is_a_fault_in_the_end(self) -> None:
        rig = dash(controlled(starved_fault_ms=300))
        run_dash(rig)
        assert rig.order() == [
            ServoState.HOLDING,
            ServoState.FOLLOWING,
            ServoState.SLOWING,
            ServoState.HOLDING,
            ServoState.FAULT,
        ]
        assert rig.loop.machine.fault == (
            "no chunk to follow for 310 ms; expected one within 300 ms (control.starved_fault_ms); "
            "see what the policy process says, or allow it more time"
        )
        changes = {c.after: c.time_ns for c in list(rig.loop.machine.transitions)[1:]}
        last_followed = changes[ServoState.SLOWING] - 10 * MS
        assert changes[ServoState.FAULT] - last_followed == 310 * MS  # the first tick beyond 300 ms
        require_within_limits(rig.drive.written, START)
        speed = speeds(rig.drive.written)
        assert speed[50:54].min() > 1.9  # it ran out at full speed, and did not freeze
        braking = CONFIG.bounds()[0]
        fastest = braking.velocity / braking.acceleration + braking.acceleration / braking.jerk
        taken_s = (changes[ServoState.HOLDING] - changes[ServoState.SLOWING]) / 1e9
        assert 0.9 * fastest < taken_s < fastest + 3 * DT  # the stop is a fast one too
        assert speeds(rig.drive.written)[-30:].max() == 0

    def test_a_chunk_in_time_clears_it(self) -> None:
        rig = dash(controlled(starved_fault_ms=300))
        run_dash(
            rig,
            t80=lambda: rig.send([[0.2, 0.2]] * 8, index=2, dt_ms=100),
            t100=lambda: None,
            t170=lambda: rig.tell(ServoCommand.STOP),  # the second chunk ends before tick 150
        )
        assert rig.order().count(ServoState.FOLLOWING) == 2
        assert rig.loop.machine.fault is None

    def test_no_first_chunk_is_a_fault_of_its_own(self) -> None:
        rig = Rig(controlled(first_chunk_ms=400, starved_fault_ms=50))
        rig.tell(ServoCommand.FOLLOW)
        rig.run()
        assert rig.order() == [ServoState.HOLDING, ServoState.FAULT]
        assert "expected one within 400 ms (control.first_chunk_ms)" in str(rig.loop.machine.fault)
        assert rig.states.index(ServoState.FAULT) == 41  # 400 ms is no fault yet, 410 ms is

    def test_waiting_begins_with_the_wish_to_follow_and_with_every_epoch(self) -> None:
        rig = Rig(controlled(first_chunk_ms=400))
        rig.run(
            t60=lambda: rig.tell(ServoCommand.FOLLOW),  # told to hold for 600 ms: nobody owed a chunk
            t90=lambda: rig.tell(epoch=2),
            t128=lambda: rig.tell(ServoCommand.STOP),
            t100=lambda: None,
        )
        assert rig.loop.machine.fault is None


class TestEmergencyStop:
    @pytest.mark.parametrize(
        "state", [ServoState.HOLDING, ServoState.FOLLOWING, ServoState.SLOWING, ServoState.STOPPING]
    )
    @pytest.mark.parametrize("signalled", [False, True])
    def test_it_latches_brakes_holds_and_lets_go(self, state: ServoState, signalled: bool) -> None:
        """A stop that was asked for before by signal must not drop the arm at speed."""
        rig = dash(controlled(fault_hold_ms=200))

        def stop() -> None:
            rig.signalled = signalled
            rig.tell(ServoCommand.STOP)

        script = {"t45": stop} if state is ServoState.STOPPING else {}
        run_dash(rig, **script, **{f"t{AT[state]}": emergency(rig)})
        assert rig.states[AT[state]] is state
        assert rig.order()[-1] is ServoState.FAULT
        assert rig.loop.machine.fault == "emergency stop"
        written, at = rig.drive.written, AT[state]
        require_within_limits([*written, *written[-1:] * 3], START)  # it stood before it went limp
        moving = speeds(written)[at - 2]
        assert moving > 0.5 or state is ServoState.HOLDING
        # The fastest stop: 0.15 s from full speed. Then it is held, at rest, and only then limp.
        still = next(n for n in range(at, len(written)) if (written[n:] == written[n]).all())
        assert still - at <= 16
        held = 1 if signalled and state is ServoState.STOPPING else 20
        assert held <= len(written) - still <= held + 2
        assert rig.drive.calls[-2:] == ["disable", "close"]
        assert rig.drive.calls.count("disable") == 1

    def test_nothing_takes_it_back(self) -> None:
        rig = dash(controlled(fault_hold_ms=500))
        run_dash(
            rig,
            t45=emergency(rig),
            t50=lambda: rig.tell(ServoCommand.FOLLOW, epoch=2),
            t51=lambda: rig.send(DASH, index=3, dt_ms=100),
            t100=lambda: None,
        )
        assert rig.order()[-1] is ServoState.FAULT
        require_within_limits(rig.drive.written, START)
        assert speeds(rig.drive.written)[65:].max() == 0

    def test_no_hold_still_means_braking_first(self) -> None:
        rig = dash(controlled(fault_hold_ms=0))
        run_dash(rig, t45=emergency(rig))
        assert speeds(rig.drive.written)[43] > 1.9
        assert speeds(rig.drive.written)[-1] < 0.1
        require_within_limits([*rig.drive.written, *rig.drive.written[-1:] * 3], START)

    def test_before_the_start_torque_never_goes_on(self) -> None:
        rig = dash()
        rig.tell(ServoCommand.EMERGENCY_STOP)
        rig.run()
        assert rig.order() == [ServoState.FAULT]
        assert "enable" not in rig.drive.calls
        assert "disable" in rig.drive.calls


class TestMotion:
    def test_a_stop_at_full_speed_ramps_down_to_rest(self) -> None:
        rig = dash()
        run_dash(rig, t45=stopped(rig))
        written = rig.drive.written
        assert speeds(written)[43] > 1.9
        require_within_limits(written, START)
        assert rig.order()[-2:] == [ServoState.STOPPING, ServoState.RELEASED]
        # Braking from 2 rad/s to the 1 rad/s of the way to rest takes its time, and is over in it.
        assert speeds(written)[45:47].min() > 1.5
        assert speeds(written)[65:].max() <= CONFIG.control.rest_velocity
        # A third of an encoder's count: Ruckig's switches fall between ticks.
        np.testing.assert_allclose(written[-1], CONFIG.control.rest, atol=5e-4)
        assert speeds(written)[-1] < 0.02

    def test_a_chunk_while_it_slows_down_resumes_without_a_jump(self) -> None:
        rig = dash()
        run_dash(rig, t58=lambda: rig.send(rig.drive.written[-1] + 0.1 * np.arange(8)[:, None], 2, 100))
        assert rig.order()[1:4] == [ServoState.FOLLOWING, ServoState.SLOWING, ServoState.FOLLOWING]
        require_within_limits(rig.drive.written, START)
        velocity, acceleration = derivatives(rig.drive.written)
        bounds = CONFIG.bounds()[0]
        resumed = slice(54, 62)
        assert velocity[resumed].min() > 0.5  # it never stood
        little = 1e-6  # float64: differences of second order over dt²
        assert np.abs(np.diff(velocity, axis=0))[resumed].max() <= bounds.acceleration * DT + little
        assert np.abs(np.diff(acceleration, axis=0))[resumed].max() <= bounds.jerk * DT + little

    @pytest.mark.parametrize("state", [ServoState.HOLDING, ServoState.FOLLOWING, ServoState.SLOWING])
    def test_a_chunk_between_two_ticks_is_in_the_very_next_setpoint(self, state: ServoState) -> None:
        tick, chunk = AT[state], DASH[::-1] + 0.1
        without, rig = dash(), dash()
        run_dash(without)
        seen: list[int] = []
        run_dash(
            rig,
            **{
                f"t{tick}": lambda: rig.send(chunk, index=2, dt_ms=100),
                f"t{tick + 1}": lambda: seen.append(int(rig.last()["chunk_index"])),
            },
        )
        np.testing.assert_array_equal(rig.drive.written[:tick], without.drive.written[:tick])
        assert (rig.drive.written[tick] != without.drive.written[tick]).all()
        assert seen == [2]
        latencies = [rig.summary()[f"{name}_us"]["max"] for name in ("pickup", "first_setpoint")]
        assert latencies == [0, 0]  # the clock stands within a tick

    def test_it_starts_from_where_the_arm_is_when_torque_goes_on(self) -> None:
        """A limp arm sinks while the rate is being tried."""
        rig = Rig()

        def sink() -> None:
            rig.drive.position -= 0.01

        rig.drive.takes = sink
        enable = rig.drive.enable

        def powered() -> None:
            rig.drive.takes = lambda: None
            enable()

        rig.drive.enable = powered  # type: ignore[method-assign]
        rig.run()
        np.testing.assert_allclose(rig.drive.written[0], 0.2 - 0.01 * (2 + REHEARSALS), atol=1e-12)


class TestRate:
    @staticmethod
    def slow(rig: Rig, *ms: int) -> None:
        """The n-th read takes ``ms[n]``, the last for all that follow."""
        left = list(ms)

        def take() -> None:
            rig.now += MS * (left.pop(0) if len(left) > 1 else left[0])

        rig.drive.takes = take

    def test_one_that_the_bus_cannot_hold_is_refused_with_the_arithmetic(self) -> None:
        rig = Rig()
        self.slow(rig, 12)
        rig.run()
        assert rig.order() == [ServoState.FAULT]
        assert rig.loop.machine.fault == (
            "control.rate_hz is 100: a tick may take 10.00 ms, but reading the joints and limiting alone "
            "took 12.00 ms in the fastest quarter of 16 tries; "
            "expected at most 83 Hz with this bus and machine; "
            "lower control.rate_hz, or raise the baudrate or bitrate of drives.NAME"
        )
        assert "enable" not in rig.drive.calls
        assert rig.drive.written == []

    @pytest.mark.parametrize(("quick", "accepted"), [(4, False), (5, True)])
    def test_a_busy_moment_is_no_reason(self, quick: int, accepted: bool) -> None:
        """More than a quarter of the tries in time: the others may have met another process."""
        rig = Rig()
        self.slow(rig, 1, *[20] * (REHEARSALS - quick), *[9] * quick, 1)
        assert (rig.run().state is ServoState.RELEASED) == accepted

    def test_a_rate_that_just_holds(self) -> None:
        rig = Rig()
        self.slow(rig, *[10] * (1 + REHEARSALS), 1)
        assert rig.run().state is ServoState.RELEASED


class TestFeedback:
    def test_a_jump_that_no_joint_can_make_is_never_used_and_is_a_fault_in_the_end(self) -> None:
        rig = Rig(controlled(feedback_timeout_ms=80))
        seen: list[float] = []
        watch = {f"t{t}": lambda: seen.append(float(rig.last()["position"][1])) for t in range(11, 19)}
        rig.run(t10=lambda: setattr(rig.drive, "offset", np.array([0.0, 2.0])), **watch)
        assert rig.order() == [ServoState.HOLDING, ServoState.FAULT]
        assert rig.loop.machine.fault == (
            "feedback of joint lift is 90 ms old; since then lift said 2.200 rad, 10 ms after 0.200 rad, "
            "with its setpoint at 0.200 rad, which no motion explains; "
            "expected at most 80 ms (control.feedback_timeout_ms); check the bus cable and the motors' power"
        )
        assert seen == [0.2] * 8
        assert rig.loop.joints.readings.implausible == 9
        assert rig.states.index(ServoState.FAULT) == 19

    def test_a_moment_of_nonsense_is_survived(self) -> None:
        rig = Rig()
        loop = rig.run(
            t10=lambda: setattr(rig.drive, "offset", np.array([2.0, np.nan])),
            t14=lambda: setattr(rig.drive, "offset", np.zeros(2)),
        )
        assert loop.state is ServoState.RELEASED
        assert loop.joints.readings.implausible == 4
        assert np.isfinite(loop.joints.position).all()

    @pytest.mark.parametrize(("joint", "name"), [(0, "pan"), (1, "lift")])
    def test_a8_the_silent_joint_is_named_and_the_other_goes_on(self, joint: int, name: str) -> None:
        rig = Rig()
        rig.run(t10=lambda: rig.drive.silent.update({joint: (0.2, rig.now)}))
        assert str(rig.loop.machine.fault).startswith(
            f"feedback of joint {name} is 60 ms old; expected at most"
        )
        assert rig.states.index(ServoState.FAULT) == 17

    @pytest.mark.parametrize(("joint", "name"), [(0, "pan"), (1, "lift")])
    def test_a4_a_joint_that_jumped_and_stays_is_named(self, joint: int, name: str) -> None:
        rig = Rig()
        rig.run(t10=lambda: rig.drive.offset.__setitem__(joint, 1.0))
        assert f"feedback of joint {name} is 60 ms old; since then {name} said 1.2" in str(
            rig.loop.machine.fault
        )
        assert rig.states.index(ServoState.FAULT) == 16

    def test_a3_a_joint_that_lost_its_torque_is_a_fault_at_once(self) -> None:
        rig = Rig()
        rig.run(t10=lambda: setattr(rig.drive, "limp", ("lift",)))
        assert str(rig.loop.machine.fault).startswith("joint lift lost its torque")
        assert rig.states.index(ServoState.FAULT) == 11

    def test_a3_a_joint_without_torque_before_power_is_as_it_should_be(self) -> None:
        rig = Rig()
        rig.drive.limp = ("pan", "lift")
        enable = rig.drive.enable

        def powered() -> None:
            enable()
            rig.drive.limp = ()

        rig.drive.enable = powered  # type: ignore[method-assign]
        assert rig.run().state is ServoState.RELEASED

    def test_a3_settings_that_contradict_the_joint_forbid_power(self) -> None:
        rig = Rig()
        rig.drive.broken["check"] = DriveError("joint lift: max_angle is 100")
        loop = rig.run()
        assert str(loop.machine.fault) == "joint lift: max_angle is 100"
        assert "enable" not in rig.drive.calls

    @pytest.mark.parametrize(("allowed", "follows"), [(0.2, False), (0.5, True)])
    def test_a3_a_joint_that_does_not_follow_is_a_fault_within_the_feedback_timeout(
        self, allowed: float, follows: bool
    ) -> None:
        rig = Rig(controlled(following_error_rad=allowed))
        write = rig.drive.write

        def stuck(setpoints: Setpoints) -> None:
            write(setpoints)
            rig.drive.position = np.array([rig.drive.position[0], 0.2])

        rig.drive.write = stuck  # type: ignore[method-assign]
        rig.tell(ServoCommand.FOLLOW)
        rig.run(t5=lambda: rig.send(np.full((8, 2), 0.55), dt_ms=100))
        far = next(i for i, at in enumerate(rig.drive.written) if abs(at[1] - 0.2) > allowed or i > 60)
        fault = str(rig.loop.machine.fault)
        assert (rig.loop.machine.fault is None) == follows
        if not follows:
            assert "joint lift does not follow: at 0.200 rad with its setpoint at 0." in fault
            assert "for 60 ms; expected within 0.2 rad (control.following_error_rad)" in fault
            assert rig.states.index(ServoState.FAULT) - far <= 50 / 10 + 3

    def test_a3_packets_that_nobody_asked_for_are_a_fault_and_one_is_not(self) -> None:
        for count, order in (
            (2, [ServoState.HOLDING, ServoState.STOPPING, ServoState.RELEASED]),
            (3, [ServoState.HOLDING, ServoState.FAULT]),
        ):
            rig = Rig()
            rig.run(t10=lambda rig=rig, n=count: setattr(rig.drive.counters, "foreign", n))
            assert rig.order() == order
        assert str(rig.loop.machine.fault).startswith("3 packets on the bus of arm answered nothing that was")

    def test_what_a_joint_can_do_is_believed(self) -> None:
        rig = dash()
        run_dash(rig)
        assert rig.loop.joints.readings.implausible == 0


@pytest.mark.parametrize(("timeout_ms", "tick"), [(200, 31), (500, 61)])
def test_a_silent_supervisor_is_dead_after_its_timeout(timeout_ms: int, tick: int) -> None:
    rig = Rig(controlled(heartbeat_timeout_ms=timeout_ms))
    rig.run(t10=lambda: setattr(rig, "heart_beats", False), t100=lambda: None)
    # Its last word came at tick 9; the first tick beyond the timeout stops, and the next one shows it.
    assert rig.states.index(ServoState.STOPPING) == tick
    stop = next(c for c in rig.loop.machine.transitions if c.after is ServoState.STOPPING)
    assert stop.reason == "supervisor silent"
    assert rig.loop.state is ServoState.RELEASED
