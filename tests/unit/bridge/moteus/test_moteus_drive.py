"""What is moteus' own about its drive; the rest is in the contract suite."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives.values import Reaction, Setpoints
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.kinds.moteus import MoteusJoint, MoteusSettings
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.twin.motor import MoteusMotor
from wall_edge_bridge.transport.base import BusHealth, Frame

from tests.drive_cases.rig import START, Rig, load_case
from wall_edge.config_loader import Invalid
from wall_edge.errors import BusTimeout, ConfigError, DriveError


@pytest.fixture
def rig() -> Any:
    kind, case = load_case("moteus")
    return Rig(kind, case)


def enabled(rig: Any) -> Any:
    rig.drive.connect()
    rig.drive.enable()
    rig.cycle(START)
    return rig


def test_without_its_library_the_kind_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "moteus" else find(name))
    with pytest.raises(ConfigError, match=r"moteus needs moteus; .*pip install 'wall-edge\[moteus\]'"):
        kind_named("moteus")


@pytest.mark.parametrize(
    "wrong",
    [{"id": 0}, {"id": 127}, {"id": 128}, {"max_effort": 400.0}, {"kp_scale": 1.5}, {"kd_scale": -0.1}],
)
def test_a_joint_that_no_moteus_can_be_is_refused(wrong: dict[str, Any]) -> None:
    common = {"name": "j", "id": 1, "lower": -1.0, "upper": 1.0, "max_velocity": 1.0}
    with pytest.raises(Invalid, match=next(iter(wrong))):
        MoteusJoint(**(common | wrong))


def test_classic_can_is_refused() -> None:
    with pytest.raises(Invalid, match="data_bitrate"):
        MoteusSettings(data_bitrate=None)


def test_seven_joints_have_the_published_ceiling() -> None:
    kind, case = load_case("moteus")
    joints = [dataclasses.replace(case.joints[0], name=f"j{i}", id=i) for i in range(1, 8)]
    assert 570 <= 1e9 / kind.cycle_ns(case.settings, joints) <= 804


def test_two_motors_with_one_id_are_told_before_anything_is_powered(rig: Any) -> None:
    other = MoteusMotor(2, 0.0)
    other.serial = (0xABCD, 0, 0)
    rig.twin.extras.append(other)
    with pytest.raises(DriveError, match=r"joint_2: 2 motors answer as id 2 .*0000abcd"):
        rig.drive.connect()


def test_firmware_with_other_registers_is_refused(rig: Any) -> None:
    rig.twin.motors[3].register_map = 3
    with pytest.raises(DriveError, match=r"joint_4.* register map 3; expected 4 or 5"):
        rig.drive.connect()


def test_a_silent_motor_is_told_with_those_that_answer_instead(rig: Any) -> None:
    rig.twin.silence(1)
    rig.twin.extras.append(MoteusMotor(44, 0.0))
    with pytest.raises(BusTimeout, match=r"no answer from joint_2 \(id 2\).*ids \[44\] answer instead"):
        rig.drive.connect()


def test_frames_of_another_protocol_are_told(rig: Any) -> None:
    rig.twin.silence(1)
    rig.twin.replies.put(Frame(0x701, b"\x05"), 0)
    with pytest.raises(BusTimeout, match=r"seen: frames 0x701 classic CAN, which no moteus sends"):
        rig.drive.connect()


def test_an_answer_to_another_cycle_is_told_by_whom_it_is_sent_to(rig: Any) -> None:
    """The motor answers to the number that asked: the drive asks under another one each time."""
    rig.drive.connect()
    rig.sent.clear()
    for _ in range(3):
        rig.cycle()
    sources = [frame.id >> 8 & 0x7F for frames in rig.sent for frame in frames]
    assert len(set(sources)) == 18
    assert not set(sources) & {joint.id for joint in rig.joints}
    assert all(frame.fd and frame.brs and frame.extended for frames in rig.sent for frame in frames)


def test_enabling_holds_without_a_position_and_arms_the_watchdog(rig: Any) -> None:
    rig.drive.connect()
    assert rig.drive.arm_watchdog(0.25) == 0.25
    rig.drive.enable()
    for motor in rig.twin.motors:
        assert math.isnan(motor.command[reg.COMMAND_POSITION])
        assert motor.command[reg.COMMAND_TIMEOUT] == pytest.approx(0.25)
    rig.cycle(START)
    for motor in rig.twin.motors:
        assert motor.command[reg.COMMAND_TIMEOUT] == pytest.approx(0.25)


def test_a_watchdog_that_reads_back_otherwise_is_refused(rig: Any) -> None:
    rig.drive.connect()
    rig.twin.motors[0].unsupported = {reg.COMMAND_TIMEOUT}
    with pytest.raises(DriveError, match=r"joint_1 .*watchdog of nan s; expected 0.1 s"):
        rig.drive.arm_watchdog(0.1)


def test_turns_speeds_torques_and_bounds_go_out_in_the_motors_sense() -> None:
    kind, case = load_case("moteus")
    joints = [dataclasses.replace(joint, max_effort=1.5, kp_scale=0.5) for joint in case.joints]
    rig = enabled(Rig(kind, case, joints=joints))
    ones = np.ones(6)
    rig.drive.cycle(Setpoints(START, ones, ones, 2 * ones), rig.soon())
    for joint, start, motor in zip(joints, START, rig.twin.motors, strict=True):
        command = motor.command
        turns = (joint.direction * start + joint.zero_rad) / (2 * math.pi)
        assert command[reg.COMMAND_POSITION] == pytest.approx(turns, abs=1e-6)
        assert command[reg.COMMAND_VELOCITY] == pytest.approx(joint.direction / (2 * math.pi), abs=2.5e-4)
        assert command[reg.COMMAND_TORQUE] == pytest.approx(1.5 * joint.direction, abs=0.011)
        assert command[reg.COMMAND_MAX_TORQUE] == pytest.approx(1.5, abs=0.011)
        assert command[reg.COMMAND_KP_SCALE] == pytest.approx(0.5, abs=1e-4)


def test_a_motor_that_stopped_by_itself_is_never_started_by_a_setpoint(rig: Any) -> None:
    """Any command in position mode would start a stopped moteus again, wherever the goal is by then."""
    enabled(rig)
    rig.twin.lose_torque(2)
    for _ in range(30):
        feedback = rig.cycle(START)
        assert feedback.limp == (rig.joints[2].name,)
        assert not rig.powered()[2]
    rig.drive.enable()
    assert rig.cycle(START).limp == ()


def test_a_limiter_is_no_fault(rig: Any) -> None:
    enabled(rig)
    rig.twin.motors[1].limiter = 99
    feedback = rig.cycle(START)
    assert feedback.limiters[1] == ("max_current",)
    assert feedback.faults == ((),) * 6
    assert feedback.limp == ()


@pytest.mark.parametrize("code", sorted(reg.FAULTS))
def test_every_code_below_96_is_a_fault_with_a_name(code: int) -> None:
    [fault] = reg.condition(reg.FAULTED, code).faults
    assert fault.name
    assert reg.condition(reg.FAULTED, code).limiters == ()


@pytest.mark.parametrize("code", range(96, 107))
def test_every_code_from_96_on_is_a_limiter(code: int) -> None:
    assert reg.condition(reg.POSITION_MODE, code).faults == ()
    assert len(reg.condition(reg.POSITION_MODE, code).limiters) == 1


def test_an_expired_watchdog_is_cleared_by_itself_once(rig: Any) -> None:
    enabled(rig)
    rig.wait(0.2)
    told = rig.cycle()
    assert {faults[0] for faults in told.faults} == {reg.WATCHDOG_EXPIRED}
    rig.drive.enable()
    rig.cycle(START)
    rig.wait(0.2)
    with pytest.raises(DriveError, match="watchdog_expired again"):
        rig.drive.enable()


def test_a_voltage_fault_is_cleared_when_the_voltage_is_back(rig: Any) -> None:
    rig.drive.connect()
    rig.twin.set_fault(0, "under_voltage")
    assert rig.cycle().faults[0][0].reaction is Reaction.CHECK
    rig.twin.motors[0].voltage = 8.0
    with pytest.raises(DriveError, match="under_voltage: bus at 8 V, it needs 10 V"):
        rig.drive.enable()
    rig.twin.motors[0].voltage = 24.0
    rig.drive.enable()
    assert all(rig.powered())


def test_a_hot_motor_is_started_when_it_has_cooled(rig: Any) -> None:
    rig.drive.connect()
    rig.twin.set_fault(0, "over_temperature")
    rig.twin.motors[0].temperature = 70.0
    with pytest.raises(DriveError, match="over_temperature: 70 °C, at most 60 °C"):
        rig.drive.enable()
    rig.twin.motors[0].temperature = 40.0
    rig.drive.enable()


def test_a_motor_outside_its_own_bounds_does_not_start_and_the_others_stop(rig: Any) -> None:
    rig.drive.connect()
    rig.twin.motors[4].bounds = (5.0, 6.0)
    with pytest.raises(DriveError, match=r"joint_5 .*start_outside_limit as it starts"):
        rig.drive.enable()
    assert not any(rig.powered())


def test_a_motor_without_its_encoder_grows_old_and_is_not_enabled(rig: Any) -> None:
    rig.drive.connect()
    before = rig.cycle()
    rig.twin.motors[2].offset = math.nan
    after = rig.cycle()
    assert after.position[2] == before.position[2]
    assert after.received_ns[2] == before.received_ns[2]
    assert rig.drive.counters.timeouts == 0
    fresh = rig.another_drive()
    with pytest.raises(DriveError, match=r"joint_3 .*does not know its position"):
        fresh.enable()


def test_the_hotter_temperature_is_told_when_it_is_looked_for(rig: Any) -> None:
    rig.drive.connect()
    rig.twin.motors[0].motor_temperature = 55.0
    assert rig.drive.look(rig.soon()).temperature[0] == 55.0


def test_a_register_that_the_firmware_refuses_makes_no_answer(rig: Any) -> None:
    rig.drive.connect()
    rig.twin.motors[1].unsupported = {reg.TEMPERATURE}
    before = rig.cycle()
    feedback = rig.cycle()
    assert feedback.received_ns[1] == before.received_ns[1]
    assert rig.drive.counters.foreign > 0


def test_error_frames_speak_of_a_wrong_bit_rate(rig: Any) -> None:
    rig.wire.trouble = BusHealth(error_frames=12, bus_off=1)
    rig.twin.silence(1)
    with pytest.raises(BusTimeout, match=r"joint_2 .*12 error frames.*bit rate"):
        rig.drive.connect()
    assert (rig.drive.counters.checksum_errors, rig.drive.counters.bus_off) == (12, 1)
