"""RobStride's quirks, each a switch of the twin; in virtual time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from wall_edge_bridge.drives import Reaction, Setpoints
from wall_edge_bridge.kinds.robstride import KIND, RobStrideJoint, RobStrideSettings
from wall_edge_bridge.kinds.robstride.bus import MIT_READ_FAULTS
from wall_edge_bridge.kinds.robstride.codec import Mode
from wall_edge_bridge.kinds.robstride.registers import (
    CAN_TIMEOUT,
    LIMIT_TORQUE,
    MOTOR_TEMPERATURE,
    RUN_MODE,
    TORQUE,
    VBUS,
)
from wall_edge_bridge.transport import BusHealth, Frame

from tests.drive_cases.rig import MS, START, Rig
from tests.drive_cases.robstride import CASE, JOINTS
from wall_edge.config_loader import Invalid
from wall_edge.errors import BusTimeout, DriveError


@pytest.fixture
def rig() -> Rig:
    return Rig(KIND, CASE)


def connected(rig: Rig) -> Rig:
    rig.drive.connect()
    rig.drive.check()
    return rig


def test_seven_joints_have_the_ceiling_of_the_protocol() -> None:
    seven = [dataclasses.replace(JOINTS[0], name=f"j{k}", id=k + 1) for k in range(7)]
    assert 1e9 / KIND.cycle_ns(CASE.settings, seven) == pytest.approx(446, abs=0.5)


# --- what is on the bus ------------------------------------------------------------------------------------


def test_a_motor_with_mit_framing_is_told_by_name_lerobot_3547(rig: Rig) -> None:
    rig.twin.motors[2].mit_framing = True
    with pytest.raises(BusTimeout, match=rf"{JOINTS[2].name}.*under 3 .*11-bit MIT framing.*maker's tool"):
        rig.drive.connect()
    assert not any(rig.powered())


def test_the_question_that_finds_mit_framing_is_not_put_where_another_protocol_speaks(rig: Rig) -> None:
    """A Damiao motor would take it for a setpoint, an ODrive might."""
    rig.twin.silence(2)
    rig.twin.replies.put(Frame(0x061, bytes(8)), 0)
    with pytest.raises(BusTimeout, match=rf"{JOINTS[2].name}.*another protocol, as 061#0000000000000000"):
        rig.drive.connect()
    sent = [frame for frames in rig.sent for frame in frames]
    assert all(frame.extended for frame in sent)


@pytest.mark.parametrize("lost", [0, 2])
def test_a_damiao_motor_under_the_id_is_told_and_gets_no_setpoint(rig: Rig, lost: int) -> None:
    """Some of its answers may be lost: the next question would be a setpoint to it, at its full kp."""
    rig.twin.silence(0)
    handle, questions = rig.twin.handle, [0]

    def damiao_too(frame: Frame, now_ns: int) -> list[Frame]:
        if frame.id == 0x7FF and frame.data[:3] == b"\x01\x00\x33":
            questions[0] += 1
        if frame.id == 0x7FF and questions[0] > lost:
            rig.twin.replies.put(Frame(0x11, b"\x01\x00\x33\x07\x11\0\0\0"), now_ns)
        return handle(frame, now_ns)

    rig.twin.handle = damiao_too
    with pytest.raises(BusTimeout, match=rf"{JOINTS[0].name}.*Damiao motors under 1"):
        rig.drive.connect()
    assert MIT_READ_FAULTS not in [frame.data for frames in rig.sent for frame in frames]


def test_two_motors_with_one_id_are_told_before_anything_is_powered(rig: Rig) -> None:
    rig.twin.add_twin(3)
    with pytest.raises(DriveError, match=rf"{JOINTS[3].name}: 2 motors answer to id 4"):
        rig.drive.connect()
    found = rig.scan()
    assert [each.id for each in found] == [1, 2, 3, 4, 4, 8, 16]
    with pytest.raises(DriveError, match="2 motors answer to id 4"):
        KIND.set_id(CASE.settings, rig.wire, 4, 40, clock=rig.clock)


def test_a_scan_tells_unique_id_and_voltage(rig: Rig) -> None:
    assert [each.detail for each in rig.scan([1, 77])] == ["unique id 5253010000000001, 24.2 V"]


def test_reads_that_are_not_supported_are_no_values(rig: Rig) -> None:
    for parameter in (VBUS, MOTOR_TEMPERATURE, TORQUE, LIMIT_TORQUE):
        rig.twin.motors[1].unsupported.add(parameter.address)
    connected(rig)
    feedback = rig.drive.look(rig.soon())
    for values in (feedback.voltage, feedback.temperature, feedback.effort):
        assert np.isnan(values).tolist() == [False, True, False, False, False, False]


def test_a_watchdog_that_the_firmware_does_not_have_is_refused(rig: Rig) -> None:
    connected(rig)
    rig.twin.motors[4].unsupported.add(CAN_TIMEOUT.address)
    with pytest.raises(DriveError, match=rf"{JOINTS[4].name}.*0x7028.*reads back as None"):
        rig.drive.arm_watchdog(0.1)


# --- ranges ------------------------------------------------------------------------------------------------


def test_firmware_with_a_range_of_12_5_rad_is_told_before_torque(rig: Rig) -> None:
    connected(rig)
    rig.twin.motors[5].ranges = rig.twin.motors[5].ranges._replace(position=12.5)
    with pytest.raises(
        DriveError, match=rf"{JOINTS[5].name}.*position_range 12.57; set position_range: 12.5"
    ):
        rig.drive.enable()
    assert not any(rig.powered())


def test_a_range_of_12_5_rad_is_spoken_where_it_is_said() -> None:
    joints = [dataclasses.replace(joint, position_range=12.5) for joint in JOINTS]
    rig = connected(Rig(KIND, CASE, joints=joints))
    rig.drive.enable()
    goal = np.array([0.9, -1.2, 0.4, 0.9, -0.3, 0.1])
    np.testing.assert_allclose(rig.follow(goal).position, goal, atol=rig.near)


def test_a_motor_of_a_stronger_model_is_refused(rig: Rig) -> None:
    rig.drive.connect()
    rig.twin.motors[0]._values[LIMIT_TORQUE.address] = 60.0
    with pytest.raises(DriveError, match=rf"{JOINTS[0].name}.*60 Nm; expected at most 17 Nm.*RS02"):
        rig.drive.check()


def test_ranges_on_which_sources_disagree_must_be_said() -> None:
    with pytest.raises(Invalid, match=r"velocity_range.*33 by the manual .*50 rad/s"):
        dataclasses.replace(JOINTS[0], model="RS00")
    joint = dataclasses.replace(JOINTS[0], model="RS00", velocity_range=33.0, effort_range=14.0)
    assert joint.ranges == (12.57, 33.0, 14.0, 500, 5)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"id": 0}, "id"),
        ({"id": 128}, "id"),
        ({"kp": 501.0}, "kp"),
        ({"kd": 5.1}, "kd"),
        ({"max_effort": 17.1}, "max_effort"),
        ({"max_velocity": 45.0}, "max_velocity"),
        ({"zero_rad": 12.0, "direction": 1}, "upper"),
    ],
)
def test_joints_beyond_the_motor_are_refused(keys: dict[str, float], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        RobStrideJoint(**{"name": "j", "id": 1, "lower": -1.0, "upper": 1.0, "max_velocity": 1.0} | keys)


def test_a_host_that_is_a_motors_id_and_can_fd_are_refused() -> None:
    for keys in ({"host_id": 5}, {"data_bitrate": 5_000_000}):
        with pytest.raises(Invalid, match=next(iter(keys))):
            RobStrideSettings(**keys)


# --- torque ------------------------------------------------------------------------------------------------


def test_run_mode_of_a_motor_at_rest_is_set_at_enable(rig: Rig) -> None:
    connected(rig)
    rig.twin.motors[1]._values[RUN_MODE.address] = 2.0
    rig.drive.enable()
    assert rig.twin.motors[1]._values[RUN_MODE.address] == 0
    np.testing.assert_allclose(rig.follow(START + 0.1).position, START + 0.1, atol=rig.near)


def test_a_motor_that_runs_in_another_mode_is_left_to_its_program(rig: Rig) -> None:
    connected(rig)
    motor = rig.twin.motors[1]
    motor._values[RUN_MODE.address], motor.mode = 1.0, Mode.RUN
    with pytest.raises(DriveError, match=rf"{JOINTS[1].name}.*0x7005\) is 1.*stop the program"):
        rig.drive.enable()
    assert rig.powered() == (False, True, False, False, False, False)
    assert motor._values[RUN_MODE.address] == 1.0


def test_joints_that_held_before_a_failed_enable_hold_after_it(rig: Rig) -> None:
    connected(rig)
    rig.drive.enable()
    rig.drive.close()
    rig.twin.motors[4].stop()
    again = rig.another_drive()
    again.connect()
    enable = rig.twin.motors[4]._enable
    rig.twin.motors[4]._enable = lambda: iter([rig.twin.motors[4].feedback()])
    with pytest.raises(DriveError, match=rf"{JOINTS[4].name}.*does not run"):
        again.enable()
    assert rig.powered() == (True, True, True, True, False, True)
    rig.twin.motors[4]._enable = enable
    again.enable()
    assert all(rig.powered())


@pytest.mark.parametrize(
    ("name", "cause", "cure", "reason"),
    [
        ("undervoltage", {"volts": 19.1}, {"volts": 24.0}, "supply at 19.1 V, min_voltage is 20"),
        ("overvoltage", {"volts": 59.5}, {"volts": 48.0}, "supply at 59.5 V, max_voltage is 58"),
        ("overtemperature", {"temperature": 120.0}, {"temperature": 45.0}, "at 120 °C, cool_below is 80"),
    ],
)
def test_faults_with_a_cause_are_cleared_when_it_is_gone(
    rig: Rig, name: str, cause: dict[str, float], cure: dict[str, float], reason: str
) -> None:
    connected(rig)
    motor = rig.twin.motors[2]
    vars(motor).update(cause)
    rig.twin.set_fault(2, name)
    assert [(fault.name, fault.reaction) for fault in rig.cycle().faults[2]] == [(name, Reaction.CHECK)]
    with pytest.raises(DriveError, match=rf"{JOINTS[2].name}.*{name}: {reason}"):
        rig.drive.enable()
    assert not any(rig.powered())
    vars(motor).update(cure)
    rig.drive.enable()
    assert all(rig.powered())
    assert rig.cycle(START).faults == ((),) * 6


def test_a_supply_that_cannot_be_read_clears_no_undervoltage(rig: Rig) -> None:
    connected(rig)
    rig.twin.motors[2].unsupported.add(VBUS.address)
    rig.twin.set_fault(2, "undervoltage")
    rig.cycle()
    with pytest.raises(DriveError, match="undervoltage: its supply cannot be read"):
        rig.drive.enable()


@pytest.mark.parametrize("name", ["driver", "hardware_id", "phase_a_overcurrent", "position_initialization"])
def test_what_only_a_fault_report_tells_is_told_and_needs_a_person(rig: Rig, name: str) -> None:
    connected(rig)
    rig.twin.set_fault(3, name)
    [fault] = rig.cycle().faults[3]
    assert (fault.name, fault.reaction) == (name, Reaction.PERSON)
    with pytest.raises(DriveError, match=rf"{JOINTS[3].name}.*{name}"):
        rig.drive.enable()


def test_a_fault_from_before_we_came_is_told_by_the_motor_that_does_not_run(rig: Rig) -> None:
    """Its report went out when nobody listened; feedback has no bit for it."""
    rig.twin.set_fault(3, "driver")
    rig.wire.receive(0)
    connected(rig)
    with pytest.raises(DriveError, match=rf"{JOINTS[3].name}.*does not run and reports driver"):
        rig.drive.enable()
    assert not any(rig.powered())


def test_a_warning_bounds_a_motor_and_is_no_fault(rig: Rig) -> None:
    connected(rig)
    rig.twin.replies.put(Frame(0x150003FD, bytes(4) + b"\1\0\0\0", extended=True), 0)
    feedback = rig.cycle()
    assert feedback.limiters[2] == ("motor temperature",)
    assert feedback.faults == ((),) * 6


def test_the_last_setpoints_feed_the_watchdog_and_reads_alone_do_not_move_a_limp_arm(rig: Rig) -> None:
    connected(rig)
    rig.drive.arm_watchdog(0.05)
    rig.drive.enable()
    rig.cycle(START)
    for _ in range(20):
        assert rig.cycle().limp == ()
    rig.wait(0.06)
    assert not any(rig.powered())
    assert rig.cycle().limp == tuple(joint.name for joint in JOINTS)


def test_an_arm_that_another_program_holds_does_not_follow_our_setpoints(rig: Rig) -> None:
    connected(rig).drive.enable()
    rig.cycle(START)
    with rig.another_drive() as other:
        for _ in range(20):
            other.cycle(Setpoints.hold(START + 0.2), rig.soon())
            rig.wait(0.01)
    np.testing.assert_allclose(rig.standing(), START, atol=rig.near)


def test_an_arm_moved_by_hand_has_a_velocity(rig: Rig) -> None:
    connected(rig)
    for step in range(5):
        rig.twin.set_positions(START + step * 0.002)
        feedback = rig.cycle()
    np.testing.assert_allclose(feedback.velocity, 0.2, rtol=1e-3)


def test_feedback_that_is_late_by_a_cycle_is_at_most_one_cycle_old(rig: Rig) -> None:
    """Nothing in it tells which control frame it answers."""
    connected(rig)
    rig.drive.enable()
    rig.cycle(START)
    rig.twin.motors[5].delay_ns = 25 * MS
    rig.cycle(START)
    rig.twin.motors[5].delay_ns = 0
    rig.wait(0.05)
    assert (rig.drive.cycle(Setpoints.hold(START), rig.soon()).received_ns == rig.clock()).all()
    assert rig.drive.counters.late > 0


def test_a_motor_in_the_cold_is_not_thousands_of_degrees_hot(rig: Rig) -> None:
    rig.twin.motors[1].temperature = -5.0
    connected(rig).drive.enable()
    assert rig.cycle(START).temperature[1] == pytest.approx(-5.0, abs=1.0)


def test_a_late_feedback_is_not_taken_for_a_motor_that_does_not_let_go(rig: Rig) -> None:
    """It says "run", as the motor did when it sent it."""
    connected(rig).drive.enable()
    rig.cycle(START)
    rig.twin.motors[2].delay_ns = 12 * MS
    late = rig.drive.cycle(Setpoints.hold(START), rig.clock() + MS)
    assert late.received_ns[2] <= rig.clock() - MS
    rig.twin.motors[2].delay_ns = 0
    rig.drive.disable()
    assert not any(rig.powered())


def test_feed_forward_is_bounded_by_max_effort_and_has_the_joints_sense() -> None:
    joints = [dataclasses.replace(joint, max_effort=2.0) for joint in JOINTS]
    rig = connected(Rig(KIND, CASE, joints=joints))
    rig.drive.enable()
    push = dataclasses.replace(Setpoints.hold(START), effort=np.array([1.0, -1.0, 9.0, -9.0, 0.0, 2.0]))
    rig.sent.clear()
    feedback = rig.drive.cycle(push, rig.soon())
    raw = np.array([frame.id >> 8 & 0xFFFF for frame in rig.sent[-1]])
    sent = raw / 65535 * 34 - 17
    np.testing.assert_allclose(sent, [1.0, 1.0, 2.0, 2.0, 0.0, -2.0], atol=1e-3)
    assert feedback.limp == ()


def test_frames_of_another_program_are_counted_and_not_believed(rig: Rig) -> None:
    connected(rig)
    rig.twin.replies.put(Frame(0x0280017B, bytes(8), extended=True), 0)
    rig.twin.replies.put(Frame(0x011, bytes(8)), 0)
    np.testing.assert_allclose(rig.cycle().position, START, atol=CASE.tolerance)
    assert rig.drive.counters.foreign == 2


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (BusHealth(error_frames=7), "7 error frames, as a wrong bit rate"),
        (BusHealth(bus_off=1, state="off"), "the controller is off the bus"),
    ],
)
def test_what_the_controller_says_is_told_with_the_silent(rig: Rig, health: BusHealth, said: str) -> None:
    rig.twin.silence(0)
    rig.wire.trouble = health
    with pytest.raises(BusTimeout, match=rf"{JOINTS[0].name}.*{said}"):
        rig.drive.connect()
