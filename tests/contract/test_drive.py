"""What every drive must do, on the twin of each of ``KINDS``: feedback, setpoints, torque. Virtual time."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from wall_edge_bridge.drives import CanSettings, Drive, SerialSettings, Setpoints
from wall_edge_bridge.kinds import KINDS, kind_named
from wall_edge_bridge.sim import ByteTwin, FrameTwin

from tests.drive_cases.rig import START, Rig
from wall_edge.errors import BusTimeout, ConfigError, DriveError

GOAL = np.array([-1.5, 1.0, 0.0, 0.9, -0.7, 0.25])


def test_every_kind_has_a_case_and_a_name_that_is_none_is_refused() -> None:
    for name in KINDS:
        assert importlib.import_module(f"tests.drive_cases.{name}").CASE.settings.kind == name
    with pytest.raises(ConfigError, match=r"'fetch'.*expected .*feetech"):
        kind_named("fetch")


def test_a_kinds_own_keys_have_defaults_and_its_twin_speaks_its_wire(rig: Rig) -> None:
    kind, settings = rig.kind, rig.case.settings
    assert isinstance(settings, kind.settings)
    assert all(isinstance(joint, kind.joint) for joint in rig.joints)
    kind.settings(kind=kind.name)
    kind.joint(name="j", id=1, lower=-1.0, upper=1.0, max_velocity=1.0)
    expected = {SerialSettings: ByteTwin, CanSettings: FrameTwin}
    [wire] = [twin for of, twin in expected.items() if isinstance(settings, of)]
    if getattr(settings, "serial_port", None):  # a CAN bus behind a bridge
        wire = ByteTwin
    assert isinstance(rig.twin, wire)
    assert settings.at("/tmp/place").place == "/tmp/place"
    assert isinstance(settings.at("/tmp/place"), kind.settings)
    assert rig.drive.capabilities == kind.capabilities
    assert {joint.id for joint in rig.joints} <= set(kind.ids)


def test_a_simulated_arm_with_the_common_keys_only_is_operated(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    names = ("name", "id", "lower", "upper", "max_velocity", "direction")
    joints = [rig.kind.joint(**{key: getattr(joint, key) for key in names}) for joint in rig.joints]
    case = dataclasses.replace(rig.case, settings=rig.kind.settings(kind=rig.kind.name))
    plain = Rig(rig.kind, case, joints=joints)
    with plain.drive as drive:
        drive.check()
        drive.arm_watchdog(0.1)
        drive.enable()
        np.testing.assert_allclose(plain.follow(GOAL).position, GOAL, atol=plain.near)


def test_joints_of_one_id_or_one_name_are_refused(rig: Rig) -> None:
    first, second, *_ = rig.joints
    for twice in ({"name": first.name}, {"id": first.id}):
        with pytest.raises(ConfigError, match=r"every (name|id) different"):
            rig.another_drive(joints=[first, dataclasses.replace(second, **twice)])


def test_feedback_is_in_radians_with_each_joints_time_of_arrival(rig: Rig) -> None:
    before = rig.clock()
    feedback = rig.cycle()
    np.testing.assert_allclose(feedback.position, START, atol=rig.case.tolerance)
    for array in (
        feedback.position,
        feedback.velocity,
        feedback.effort,
        feedback.temperature,
        feedback.voltage,
    ):
        assert array.shape == (6,)
        assert array.dtype == np.float64
    assert feedback.received_ns.shape == (6,)
    assert feedback.received_ns.dtype == np.int64
    assert before < feedback.received_ns.min() <= feedback.time_ns <= rig.clock()
    assert feedback.faults == feedback.limiters == ((),) * 6
    assert feedback.limp == ()


def test_a_lost_offset_shows_and_moves_nothing(rig: Rig) -> None:
    rig.twin.shift_zero(1, 0.25)
    shifted = START + np.array([0, 0.25, 0, 0, 0, 0])
    np.testing.assert_allclose(rig.cycle().position, shifted, atol=2 * rig.case.tolerance)
    assert not any(rig.powered())


def test_looking_tells_all_that_the_kind_can_tell(rig: Rig) -> None:
    feedback, can = rig.drive.look(rig.soon()), rig.kind.capabilities
    np.testing.assert_allclose(feedback.position, START, atol=rig.case.tolerance)
    assert np.isfinite(feedback.temperature).all() == can.temperature
    assert np.isfinite(feedback.voltage).all() == can.voltage
    assert np.isfinite(feedback.velocity).all() == can.velocity
    assert np.isfinite(feedback.effort).all() == can.effort
    if can.temperature:
        assert ((feedback.temperature > 10) & (feedback.temperature < 70)).all()
    if can.voltage:
        assert ((feedback.voltage > 5) & (feedback.voltage < 60)).all()


def test_velocities_have_the_joints_sense(rig: Rig) -> None:
    if not rig.kind.capabilities.velocity:
        pytest.skip("the kind reports none")
    rig.drive.enable()
    slope = np.array([0.4, 0.5, -0.4, 0.5, -0.4, 0.5])
    for step in range(60):
        rig.cycle(START + slope * step * 0.01, slope)
    velocity = rig.drive.look(rig.soon()).velocity
    np.testing.assert_allclose(velocity, slope, atol=0.3)


def test_an_older_feedback_is_not_changed_by_later_cycles(rig: Rig) -> None:
    first = rig.cycle()
    kept = {field: np.copy(getattr(first, field)) for field in ("position", "velocity", "received_ns")}
    rig.drive.enable()
    rig.follow(np.zeros(6))
    for field, value in kept.items():
        np.testing.assert_array_equal(getattr(first, field), value)


def test_setpoints_before_enable_move_nothing(rig: Rig) -> None:
    for _ in range(30):
        rig.cycle(np.zeros(6), np.ones(6))
    assert not any(rig.powered())
    np.testing.assert_allclose(rig.standing(), START, atol=rig.case.tolerance)


def test_enable_holds_where_the_arm_was_moved_to_by_hand_whatever_was_its_last_goal(rig: Rig) -> None:
    rig.drive.enable()
    rig.follow(np.zeros(6))
    rig.drive.disable()
    elsewhere = START + 0.3
    rig.twin.set_positions(elsewhere)
    rig.drive.enable()
    assert all(rig.powered())
    rig.wait(0.3)
    np.testing.assert_allclose(rig.standing(), elsewhere, atol=rig.near)


def test_setpoints_are_reached_with_velocity_as_feed_forward(rig: Rig) -> None:
    rig.drive.enable()
    np.testing.assert_allclose(rig.follow(GOAL).position, GOAL, rtol=0, atol=rig.near)
    np.testing.assert_allclose(rig.standing(), GOAL, rtol=0, atol=rig.near)


def test_disable_lets_go(rig: Rig) -> None:
    rig.drive.enable()
    rig.cycle(START)
    rig.drive.disable()
    assert not any(rig.powered())
    rig.wait(0.5)
    limp = rig.standing()
    for _ in range(20):
        rig.cycle(np.zeros(6))
    np.testing.assert_allclose(rig.standing(), limp, atol=1e-6)
    assert not any(rig.powered())


def test_torque_tells_the_truth_or_nothing(rig: Rig) -> None:
    def require_truth() -> None:
        for said, powered in zip(rig.drive.torque(), rig.powered(), strict=True):
            assert said in (None, powered)

    require_truth()
    rig.drive.enable()
    require_truth()
    rig.twin.lose_torque(2)
    assert not rig.powered()[2]
    require_truth()
    rig.drive.disable()
    require_truth()


FORBIDDEN = (math.nan, math.inf, -math.inf, 1.01, -1.51, 1e9)


@pytest.mark.parametrize("enabled", [False, True])
def test_a_forbidden_setpoint_is_refused_with_joint_value_and_limit_and_nothing_is_sent(
    rig: Rig, enabled: bool
) -> None:
    if enabled:
        rig.drive.enable()
        rig.cycle(START)
    rig.sent.clear()
    for joint, spec in enumerate(rig.joints):
        for bad in FORBIDDEN:
            setpoints = START.copy()
            setpoints[joint] = bad
            named = rf"{spec.name}.* {re.escape(f'{bad:g}')} rad.*-1\.5 to 1 rad"
            with pytest.raises(DriveError, match=named):
                rig.drive.start_cycle(Setpoints.hold(setpoints), rig.soon())
    assert rig.sent == []
    rig.cycle(START)


@pytest.mark.parametrize("shape", [(0,), (5,), (7,), (1, 6), ()])
def test_setpoints_of_another_shape_are_refused(rig: Rig, shape: tuple[int, ...]) -> None:
    rig.sent.clear()
    with pytest.raises(DriveError, match="shape"):
        rig.drive.start_cycle(Setpoints.hold(np.zeros(shape)), rig.soon())
    assert rig.sent == []


@pytest.mark.parametrize("field", ["velocity", "effort"])
def test_a_feed_forward_that_is_no_number_is_refused_where_it_would_be_sent(rig: Rig, field: str) -> None:
    if not getattr(rig.kind.capabilities, f"{field}_feedforward"):
        pytest.skip("the kind sends none")
    rig.drive.enable()
    rig.sent.clear()
    bad = np.array([0, 0, math.nan, 0, 0, 0])
    with pytest.raises(DriveError, match=rig.joints[2].name):
        rig.drive.start_cycle(dataclasses.replace(Setpoints.hold(START), **{field: bad}), rig.soon())
    assert rig.sent == []


def test_a_setpoint_a_rounding_beyond_its_limit_is_the_limit(rig: Rig) -> None:
    rig.drive.enable()
    rig.follow(np.ones(6))
    beyond = np.full(6, 1.0 + 1e-9)
    np.testing.assert_array_equal(rig.drive.allowed(beyond), np.ones(6))
    np.testing.assert_allclose(rig.cycle(beyond).position, 1.0, atol=rig.near)


def test_a_deadline_in_the_past_is_a_timeout_that_takes_no_time(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(timed=True)
    rig.drive.connect()
    rig.cycle()
    now = rig.clock()
    with pytest.raises(BusTimeout):
        rig.drive.cycle(None, now - 1)
    assert rig.clock() - now < 1_000_000
    since = rig.clock()
    assert rig.stale(rig.until(lambda f: (f.received_ns > since).all(), 0.05), since) == []


def test_counters_count_cycles_and_a_sound_bus_has_no_errors(rig: Rig) -> None:
    before = rig.drive.counters.cycles
    for _ in range(10):
        rig.cycle()
    rig.drive.enable()
    for _ in range(10):
        rig.cycle(START)
    assert rig.drive.counters.cycles == before + 20
    assert rig.drive.counters.errors == rig.drive.counters.late == rig.drive.counters.foreign == 0


def test_ticks_are_of_each_joint_or_none(rig: Rig) -> None:
    ticks = rig.drive.ticks(np.where(np.arange(6) == 2, math.nan, START))
    assert ticks[2] is None
    assert len(ticks) == 6


def test_close_may_be_called_twice_and_changes_no_torque(rig: Rig) -> None:
    with rig.drive as drive:
        drive.enable()
    drive.close()
    assert all(rig.powered())


def test_a_drive_that_does_not_connect_is_closed(rig: Rig) -> None:
    closed = []
    drive: Drive = rig.another_drive()
    drive.close = lambda: closed.append(1)  # type: ignore[method-assign]
    for joint in range(6):
        rig.twin.silence(joint)
    with pytest.raises(BusTimeout), drive:
        pytest.fail("it did")
    assert closed == [1]
