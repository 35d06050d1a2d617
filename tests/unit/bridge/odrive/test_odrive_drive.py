"""ODrive's quirks, each a switch of the twin; in virtual time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from wall_edge_bridge.drives import Reaction, Setpoints
from wall_edge_bridge.kinds.odrive import KIND, ODriveEndpoints, ODriveJoint, ODriveSettings
from wall_edge_bridge.kinds.odrive.codec import Command, Version
from wall_edge_bridge.transport import BusHealth, Frame

from tests.drive_cases.odrive import CASE, ENDPOINTS, JOINTS
from tests.drive_cases.rig import START, Rig
from wall_edge.config_loader import Invalid
from wall_edge.errors import BusTimeout, DriveError

MODE = Command.CONTROLLER_MODE


def settings(**keys: object) -> ODriveSettings:
    return dataclasses.replace(CASE.settings, **keys)  # type: ignore[arg-type]


def make(joints: tuple[ODriveJoint, ...] = JOINTS, **keys: object) -> Rig:
    return Rig(KIND, dataclasses.replace(CASE, settings=settings(**keys)), joints=joints)


def connected(rig: Rig) -> Rig:
    rig.drive.connect()
    rig.drive.check()
    return rig


def frames(rig: Rig) -> list[Frame]:
    return [frame for sent in rig.sent for frame in sent]


# --- joints and settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"id": 63}, "id"),
        ({"id": -1}, "id"),
        ({"gear_ratio": 0.0}, "gear_ratio"),
        ({"current_limit": 5.0}, "current_limit"),
        ({"velocity_limit": 0.5, "current_limit": 5.0}, "velocity_limit"),
    ],
)
def test_joints_that_cannot_be_are_refused(keys: dict[str, float], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        ODriveJoint(**{"name": "j", "id": 1, "lower": -1.0, "upper": 1.0, "max_velocity": 1.0} | keys)


def test_settings_that_contradict_each_other_are_refused() -> None:
    for keys in ({"firmware": "0.5"}, {"endpoints": ODriveEndpoints("0.5.6", 1, 2)}, {"estimates_ms": 0}):
        with pytest.raises(Invalid, match=r"endpoints|estimates_ms"):
            settings(**keys)
    with pytest.raises(Invalid, match="firmware"):
        ODriveEndpoints("latest", 1, 2)


def test_turns_of_the_motor_are_radians_of_the_joint_by_the_gear() -> None:
    joint = ODriveJoint("j", id=3, lower=-3, upper=3, max_velocity=9, gear_ratio=10.0, direction=-1)
    rig = Rig(KIND, CASE, joints=[joint], positions=np.array([0.2]))
    connected(rig)
    rig.drive.enable()
    rig.sent.clear()
    goal = Setpoints(np.array([0.5]), np.array([0.1]), np.zeros(1), np.array([2.0]))
    rig.drive.cycle(goal, rig.soon())
    turns = -0.5 * 10 / (2 * math.pi)
    velocity, torque = round(-0.1 * 10 / (2 * math.pi) / 0.001), round(-2.0 / 10 / 0.001)
    assert frames(rig)[0] == Frame(
        0x06C, np.array([turns], "<f4").tobytes() + np.array([velocity, torque], "<i2").tobytes()
    )


# --- who is there ------------------------------------------------------------------------------------------


def test_firmware_0_5_is_told_by_name_and_is_spoken_when_it_is_said() -> None:
    rig = make()
    rig.twin.motors[2].old = True
    with pytest.raises(DriveError, match=rf"{JOINTS[2].name}.*0\.5 .*tells no version.*set firmware: '0\.5'"):
        rig.drive.connect()
    rig = connected(make(firmware="0.5", endpoints=None))
    rig.drive.enable()
    np.testing.assert_allclose(rig.follow(START + 0.1).position, START + 0.1, atol=rig.near)
    look = rig.drive.look(rig.soon())
    assert (look.voltage == 24.0).all()
    assert np.isnan(look.temperature).all()  # its 0x15 is another message, of 123 and 456
    assert np.isnan(look.effort).all()
    rig.twin.set_fault(1, "ENCODER_FAILED")
    assert rig.until(lambda f: f.faults[1], 0.11, START).faults[1][0].name == "ENCODER_FAILED"


def test_firmware_0_5_is_never_asked_what_it_would_take_for_a_command() -> None:
    rig = connected(make(firmware="0.5", endpoints=None))
    rig.drive.enable()
    rig.drive.look(rig.soon())
    asked = {frame.id & 0x1F for frame in frames(rig) if frame.remote}
    assert asked <= {Command.VERSION, Command.ESTIMATES, Command.BUS}


def test_a_newer_firmware_than_was_said_is_told() -> None:
    rig = make(firmware="0.5", endpoints=None)
    rig.twin.motors[2].old = False
    with pytest.raises(DriveError, match=rf"{JOINTS[2].name}.*0\.6\.10.*set firmware: '0\.6'"):
        rig.drive.connect()


def test_two_axes_with_one_node_id_are_told() -> None:
    rig = make()
    rig.twin.add_twin(3)
    with pytest.raises(DriveError, match=rf"{JOINTS[3].name}: 2 ODrives have node id 4 \(385500000004, 3855"):
        rig.drive.connect()
    assert [found.id for found in rig.scan()] == [1, 2, 3, 4, 4, 5, 6]
    with pytest.raises(DriveError, match="2 serial numbers at node 4"):
        KIND.set_id(CASE.settings, rig.wire, 4, 9, clock=rig.clock)


def test_a_silent_node_is_named_with_what_was_heard_instead() -> None:
    rig = make()
    rig.twin.silence(1)
    rig.twin.replies.say(Frame(0x1234567, b"\1\2", extended=True), 0)
    with pytest.raises(BusTimeout, match=rf"{JOINTS[1].name} \(node 2\).*heard instead 1234567#0102"):
        rig.drive.connect()


def test_a_scan_tells_firmware_state_and_serial() -> None:
    rig = make()
    [found] = rig.scan([2])
    assert (found.model, found.detail) == ("firmware 0.6.10", "axis state 1, serial 385500000002")


def test_a_powered_axis_keeps_its_node_id() -> None:
    rig = connected(make())
    rig.drive.enable()
    with pytest.raises(DriveError, match="node 6 is not idle"):
        KIND.set_id(CASE.settings, rig.wire, 6, 9, clock=rig.clock)
    assert rig.powered()[5]


# --- torque ------------------------------------------------------------------------------------------------


def test_position_control_is_set_before_torque_whatever_mode_it_was_in() -> None:
    rig = connected(make())
    assert rig.twin.motors[0].mode == (2, 1)
    rig.drive.enable()
    assert all(motor.mode == (3, 1) for motor in rig.twin.motors)
    order = [frame.id & 0x1F for frame in frames(rig) if frame.id >> 5 == 1 and not frame.remote]
    assert order.index(MODE) < order.index(Command.INPUT_POS) < order.index(Command.SET_STATE)


def test_idle_without_an_error_is_lost_torque() -> None:
    rig = connected(make())
    rig.drive.enable()
    rig.twin.lose_torque(4)
    feedback = rig.until(lambda f: f.limp, 0.11, START)
    assert feedback.limp == (JOINTS[4].name,)
    assert feedback.faults == ((),) * 6


def test_an_axis_that_stays_idle_without_an_error_is_refused_and_all_are_let_go() -> None:
    rig = connected(make())
    rig.twin.motors[3]._set_state = lambda _: None
    with pytest.raises(DriveError, match=rf"{JOINTS[3].name}.*axis state 1 with no error.*calibrate"):
        rig.drive.enable()
    assert not any(rig.powered())


def test_an_axis_that_calibrates_itself_is_not_enabled() -> None:
    rig = connected(make())
    rig.twin.motors[3].state = 4
    with pytest.raises(DriveError, match=rf"{JOINTS[3].name}.*axis state 4"):
        rig.drive.enable()
    assert not any(rig.powered())


def test_an_arm_that_another_program_holds_does_not_follow_our_setpoints() -> None:
    rig = connected(make())
    rig.drive.enable()
    rig.cycle(START)
    with rig.another_drive() as other:
        for _ in range(20):
            other.cycle(Setpoints.hold(START + 0.2), rig.soon())
            rig.wait(0.01)
    np.testing.assert_allclose(rig.standing(), START, atol=1e-4)


def test_limits_go_out_at_enable_in_turns_and_amperes() -> None:
    joints = (dataclasses.replace(JOINTS[0], velocity_limit=2 * math.pi, current_limit=12.0), *JOINTS[1:])
    rig = connected(make(joints))
    rig.drive.enable()
    [sent] = [frame for frame in frames(rig) if frame.id & 0x1F == Command.LIMITS]
    assert sent == Frame(0x02F, np.array([8.0, 12.0], "<f4").tobytes())


def test_overspeed_beyond_the_limit_is_a_fault_of_the_axis() -> None:
    joints = (dataclasses.replace(JOINTS[0], velocity_limit=6.0, current_limit=12.0), *JOINTS[1:])
    rig = connected(make(joints))
    rig.drive.enable()
    rig.twin.motors[0].rotor.load = 60.0
    feedback = rig.until(lambda f: f.faults[0], 0.11, START)
    assert feedback.faults[0][0].name == "VELOCITY_LIMIT_VIOLATION"


@pytest.mark.parametrize(
    ("name", "cause", "cure", "reason"),
    [
        ("DC_BUS_UNDER_VOLTAGE", {"volts": 9.5}, {"volts": 24.0}, "supply at 9.5 V, min_voltage is 15"),
        ("DC_BUS_OVER_VOLTAGE", {"volts": 59.0}, {"volts": 48.0}, "supply at 59.0 V, max_voltage is 56"),
        ("MOTOR_OVER_TEMP", {"motor_temperature": 91.0}, {"motor_temperature": 40.0}, "at 91 °C"),
        ("INVERTER_OVER_TEMP", {"inverter_temperature": 91.0}, {"inverter_temperature": 40.0}, "at 91 °C"),
    ],
)
def test_faults_with_a_cause_are_cleared_when_it_is_gone(
    name: str, cause: dict[str, float], cure: dict[str, float], reason: str
) -> None:
    rig = connected(make())
    vars(rig.twin.motors[2]).update(cause)
    rig.twin.set_fault(2, name)
    feedback = rig.until(lambda f: f.faults[2], 0.11)
    assert [(fault.name, fault.reaction) for fault in feedback.faults[2]] == [(name, Reaction.CHECK)]
    with pytest.raises(DriveError, match=rf"{JOINTS[2].name}.*{name}: {reason}"):
        rig.drive.enable()
    assert not any(rig.powered())
    vars(rig.twin.motors[2]).update(cure)
    rig.drive.enable()
    assert all(rig.powered())


def test_a_velocity_scale_that_is_not_the_motors_moves_it_too_fast_and_can_be_said() -> None:
    for said, reached in ((0.001, False), (0.002, True)):
        joints = tuple(dataclasses.replace(joint, velocity_scale=said) for joint in JOINTS)
        rig = connected(make(joints))
        for motor in rig.twin.motors:
            motor.velocity_scale = 0.002
        rig.drive.enable()
        for step in range(40):
            rig.cycle(START - 0.02 * step * 0.5, np.full(6, -1.0))
        error = np.abs(rig.standing() - (START - 0.02 * 39 * 0.5)).max()
        assert (error < 0.015) == reached, error


# --- the watchdog ------------------------------------------------------------------------------------------


def test_without_endpoints_the_watchdog_cannot_be_armed_and_why_is_said() -> None:
    rig = connected(make(endpoints=None))
    assert rig.drive.arm_watchdog(0.1) is None
    assert "endpoints" in rig.drive.watchdog_note


def test_endpoints_of_another_firmware_are_not_written() -> None:
    rig = make()
    rig.twin.motors[2].version = Version(0, 6, 9)
    connected(rig)
    rig.sent.clear()
    with pytest.raises(DriveError, match=rf"{JOINTS[2].name}.*firmware 0\.6\.9; expected 0\.6\.10"):
        rig.drive.arm_watchdog(0.1)
    assert rig.sent == []


def test_endpoints_that_are_other_values_are_told_by_what_they_read_back() -> None:
    rig = connected(make(endpoints=dataclasses.replace(ENDPOINTS, watchdog_timeout=400)))
    with pytest.raises(BusTimeout, match="about endpoint 400"):
        rig.drive.arm_watchdog(0.1)
    rig = connected(make())
    rig.twin.motors[1]._sdo = lambda data: iter(
        [Frame(0x045, bytes.fromhex("0087010000000000"))] if data[0] == 0 else []
    )
    with pytest.raises(DriveError, match=rf"{JOINTS[1].name}.*endpoint 391 reads back as 0"):
        rig.drive.arm_watchdog(0.1)


def test_the_watchdog_is_armed_with_torque_only_and_an_idle_arm_gets_no_error() -> None:
    rig = connected(make())
    assert rig.drive.arm_watchdog(0.1) == pytest.approx(0.1)
    rig.wait(1.0)
    rig.drive.enable()
    assert all(motor.values[392] for motor in rig.twin.motors)
    rig.drive.disable()
    assert not any(motor.values[392] for motor in rig.twin.motors)
    rig.wait(1.0)
    assert rig.cycle().faults == ((),) * 6


def test_what_the_watchdog_stopped_says_so_and_is_cleared_once() -> None:
    rig = connected(make())
    rig.drive.arm_watchdog(0.1)
    rig.drive.enable()
    rig.wait(0.3)
    assert not any(rig.powered())
    feedback = rig.until(lambda f: all(f.faults), 0.11)
    assert {fault.name for faults in feedback.faults for fault in faults} == {"WATCHDOG_TIMER_EXPIRED"}
    rig.drive.disable()
    rig.drive.enable()
    rig.wait(0.3)
    rig.drive.disable()
    with pytest.raises(DriveError, match="WATCHDOG_TIMER_EXPIRED again"):
        rig.drive.enable()


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (BusHealth(error_frames=7), "7 error frames, as a wrong bit rate"),
        (BusHealth(bus_off=1, state="off"), "the controller is off the bus"),
    ],
)
def test_what_the_controller_says_is_told_with_the_silent(health: BusHealth, said: str) -> None:
    rig = make()
    rig.twin.silence(0)
    rig.wire.trouble = health
    with pytest.raises(BusTimeout, match=rf"{JOINTS[0].name}.*{said}"):
        rig.drive.connect()
