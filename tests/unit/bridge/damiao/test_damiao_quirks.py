"""What Damiao motors are known to do, each a switch of the twin: told by name before anything is powered."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from wall_edge_bridge.kinds.damiao import KIND, DamiaoSettings
from wall_edge_bridge.kinds.damiao.codec import ENABLE, SET_ZERO, MitCodec, RegisterFrame
from wall_edge_bridge.kinds.damiao.registers import CTRL_MODE, ENABLED, MODELS, MST_ID, PMAX, VBUS
from wall_edge_bridge.kinds.damiao.twin import SimulatedMotor
from wall_edge_bridge.transport.base import BusHealth, Frame

from tests.unit.bridge.damiao.damiao_rig import JOINTS, DamiaoRig
from wall_edge.errors import BusTimeout, ConfigError, DriveError

FD = DamiaoSettings(data_bitrate=5_000_000)


def test_a_master_id_of_0_as_from_the_factory_is_told_and_can_be_used() -> None:
    rig = DamiaoRig()
    for motor in rig.twin.motors:
        motor.registers[MST_ID] = 0
    with pytest.raises(DriveError, match=r"motor 1 answers on 0x0 \(as motors leave the factory\).*0x11"):
        rig.drive.connect()
    rig.drive = rig.another_drive(feedback_id=0)
    rig.enabled()
    np.testing.assert_allclose(rig.cycle(0.0).position, 0.0, atol=0.01)


def test_a_feedback_id_that_is_another_motors_id_is_refused_in_the_configuration_and_on_the_bus() -> None:
    with pytest.raises(ConfigError, match=r"hip: feedback_id 3.*ankle would take"):
        DamiaoRig(joints=[replace(JOINTS[0], feedback_id=3), *JOINTS[1:]])
    rig = DamiaoRig()
    rig.twin.motors[0].registers[MST_ID] = 3
    with pytest.raises(DriveError, match=r"hip: motor 1 answers on 0x3, which that motor takes for commands"):
        rig.drive.connect()


def test_what_a_motor_says_on_anothers_id_moves_that_motor() -> None:
    """Why it is refused: the twin shows the harm."""
    rig = DamiaoRig()
    rig.enabled(1.0)
    rig.twin.motors[0].registers[MST_ID] = 3
    rig.cycle()
    rig.clock.sleep(rig.clock() + 200_000_000)
    assert abs(rig.twin.positions(rig.clock())[2]) > 0.2


def test_motors_answer_only_when_they_are_commanded() -> None:
    rig = DamiaoRig()
    rig.enabled()
    rig.clock.sleep(rig.clock() + 50_000_000)
    assert rig.wire.receive(rig.clock() + 10_000_000) == []


def test_echoes_are_never_taken_for_feedback_of_minus_12_4_rad() -> None:
    rig = DamiaoRig()
    rig.connected()
    rig.twin.echoes = True
    for _ in range(5):
        assert abs(rig.cycle().position).max() < 0.01
    assert rig.drive.counters.foreign == 15
    assert rig.drive.counters.timeouts == 0
    echo = RegisterFrame(1, 0x55, 9, bytes(4)).pack()
    rig.twin.echoes = False
    rig.twin.replies.change(lambda frame: frame._replace(data=echo))
    before = rig.cycle().received_ns[0]
    assert rig.drive.counters.timeouts == 1
    assert rig.cycle().received_ns[0] > before


def test_a_zero_is_written_to_flash_at_once_even_under_torque_and_nothing_here_ever_sends_it() -> None:
    rig = DamiaoRig(start=0.5)
    drive = rig.enabled()
    for _ in range(20):
        rig.cycle(0.6)
    drive.look(rig.clock() + 50_000_000)
    rig.twin.set_fault(0, "lost communication")
    drive.enable()
    drive.disable()
    list(KIND.scan(rig.settings, rig.wire, KIND.ids, clock=rig.clock))
    KIND.set_id(rig.settings, rig.wire, 3, 9, clock=rig.clock)  # type: ignore[misc]
    assert SET_ZERO not in {frame.data for frame in rig.sent}
    assert [motor.zeros_written for motor in rig.twin.motors] == [0, 0, 0]
    assert [motor.saves for motor in rig.twin.motors] == [0, 0, 1]
    rig.twin.motors[0].state = ENABLED
    rig.twin.handle(Frame(1, SET_ZERO), rig.clock())
    assert rig.twin.motors[0].zeros_written == 1


@pytest.mark.parametrize("turns", [1, -1, 2])
def test_an_encoder_a_turn_off_after_a_power_cycle_is_told_and_not_guessed(turns: int) -> None:
    rig = DamiaoRig(start=0.4)
    rig.twin.motors[1].offset = -turns * 2 * math.pi
    drive = rig.connected()
    with pytest.raises(DriveError, match=rf"knee: stands at .*would be inside \{turns:+d} turn away.*power"):
        drive.enable()
    assert not any(rig.twin.powered(rig.clock()))


def test_a_motor_that_stood_beyond_half_a_turn_comes_back_a_turn_off() -> None:
    joints = [replace(joint, lower=-5.0, upper=5.0) for joint in JOINTS]
    rig = DamiaoRig(joints=joints, start=4.0)
    rig.connected()
    rig.twin.reboot(1, rig.clock())
    rig.clock.sleep(rig.clock() + 10**9)
    np.testing.assert_allclose(rig.cycle().position, [4.0, 4.0 - 2 * math.pi, 4.0], atol=1e-3)


def test_a_motor_that_speaks_robstrides_protocol_is_told_by_name() -> None:
    rig = DamiaoRig()
    rig.twin.motors[2].robstride = True
    with pytest.raises(
        BusTimeout, match=r"ankle \(id 3\).*RobStride's private protocol from id 3 .kind: robstride"
    ):
        rig.drive.connect()


def test_others_that_speak_unasked_are_told_too() -> None:
    rig = DamiaoRig()
    rig.twin.silence(0)
    others = [
        Frame(0x701, b"\x05"),
        Frame(4 << 5 | 1, bytes(8)),
        Frame(0x8001, bytes(8), extended=True, fd=True),
        Frame(0x02000AFD, bytes(8), extended=True),
    ]
    for frame in others:
        rig.twin.replies.put(frame, rig.clock() + 1000)
    with pytest.raises(BusTimeout) as caught:
        rig.drive.connect()
    for kind, number in (("cia402", 1), ("odrive", 4), ("moteus", 0), ("robstride", 10)):
        assert f"from id {number} (kind: {kind})" in str(caught.value)


def test_a_wrong_bit_rate_shows_as_error_frames() -> None:
    rig = DamiaoRig()
    for index in range(3):
        rig.twin.silence(index)
    rig.wire.trouble = BusHealth(error_frames=128, error_passive=1, state="passive")
    with pytest.raises(BusTimeout, match="128 error frames, as a wrong bit rate"):
        rig.drive.connect()
    assert (rig.drive.counters.checksum_errors, rig.drive.counters.error_passive) == (128, 1)


def test_can_fd_without_bit_rate_switching_is_ignored_and_so_is_classic_can() -> None:
    rig = DamiaoRig(FD)
    for frame in (Frame(1, ENABLE), Frame(1, ENABLE, fd=True)):
        assert rig.twin.handle(frame, rig.clock()) == []
    [reply] = rig.twin.handle(Frame(1, ENABLE, fd=True, brs=True), rig.clock())
    assert (reply.fd, reply.brs) == (True, True)
    classic = DamiaoRig()
    assert classic.twin.handle(Frame(1, ENABLE, fd=True, brs=True), classic.clock()) == []
    with pytest.raises(BusTimeout, match="data_bitrate"):
        KIND.open_drive(DamiaoSettings(), JOINTS, rig.wire, clock=rig.clock).connect()


@pytest.mark.parametrize("reply_id", [0x11, 0x31])
def test_two_motors_with_one_id_are_told_before_anything_is_powered(reply_id: int) -> None:
    rig = DamiaoRig()
    rig.twin.add(SimulatedMotor(1, reply_id, "DM4310", 1.0))
    with pytest.raises(DriveError, match="hip: 2 motors answer as id 1"):
        rig.drive.connect()
    [found, *_] = KIND.scan(rig.settings, rig.wire, [1], clock=rig.clock)
    assert "2 motors with this id" in found.detail


def test_one_doubled_answer_is_not_two_motors() -> None:
    rig = DamiaoRig()
    rig.twin.replies.double(1)
    [facts, *_] = rig.connected().facts
    assert (facts.serial, facts.voltage, facts.over_temperature) == (1001, 24.0, 100.0)


def test_a_lost_answer_at_connect_is_asked_for_again() -> None:
    rig = DamiaoRig()
    for nth in (1, 6, 7, 15):
        rig.twin.replies.drop(nth)
    rig.connected()


def test_ranges_are_the_motors_own() -> None:
    rig = DamiaoRig(joints=[replace(joint, model="custom") for joint in JOINTS], start=1.0)
    for motor in rig.twin.motors:
        motor.registers[PMAX] = 3.2
    rig.enabled()
    np.testing.assert_allclose(rig.cycle(1.0).position, 1.0, atol=0.001)


def test_ranges_that_contradict_the_model_are_refused_with_the_model_that_they_fit() -> None:
    rig = DamiaoRig(joints=[JOINTS[0], replace(JOINTS[1], model="DM8009"), JOINTS[2]])
    rig.connected()
    drive = rig.another_drive(model="DM4310")
    drive.connect()
    with pytest.raises(DriveError, match=r"knee.*±54 Nm.*expected a DM4310's.*model: DM8009"):
        drive.enable()
    assert not any(rig.twin.powered(rig.clock()))


def test_limits_beyond_what_the_motor_counts_are_refused() -> None:
    rig = DamiaoRig(joints=[JOINTS[0], replace(JOINTS[1], upper=12.45), JOINTS[2]])
    rig.drive.connect()
    with pytest.raises(DriveError, match=r"knee.*-1.5 to 12.45 rad.*within -12.4 to 12.4 rad"):
        rig.drive.check()


def test_a_motor_in_another_mode_is_put_into_mit_mode_in_ram_alone() -> None:
    rig = DamiaoRig()
    motor = rig.twin.motors[1]
    motor.registers[CTRL_MODE] = motor.memory.flash[CTRL_MODE] = 2
    rig.connected()
    assert motor.registers[CTRL_MODE] == 2
    rig.drive.enable()
    assert (motor.registers[CTRL_MODE], motor.memory.flash[CTRL_MODE], motor.saves) == (1, 2, 0)
    assert abs(rig.cycle(0.01).position).max() < 0.02


def test_a_motor_that_another_mode_moves_is_not_touched() -> None:
    rig = DamiaoRig()
    rig.enabled(10.0)
    rig.twin.motors[1].registers[CTRL_MODE] = 3
    other = rig.another_drive()
    other.connect()
    with pytest.raises(DriveError, match=r"knee.*in velocity mode.*disable it first"):
        other.enable()
    assert rig.twin.motors[1].registers[CTRL_MODE] == 3


@pytest.mark.parametrize("keeps", [True, False])
def test_enable_moves_nothing_whether_motors_keep_their_last_goal_or_not(keeps: bool) -> None:
    rig = DamiaoRig()
    for motor in rig.twin.motors:
        motor.keeps_goal = keeps
    drive = rig.enabled(10.0)
    for _ in range(100):
        rig.cycle(1.0)
    drive.disable()
    rig.twin.set_positions([-1.0, 0.0, 0.5])
    drive.enable()
    for _ in range(50):
        rig.clock.sleep(rig.clock() + 2_000_000)
        np.testing.assert_allclose(rig.twin.positions(rig.clock()), [-1.0, 0.0, 0.5], atol=0.005)


def test_a_motor_that_did_not_hear_its_goal_is_not_enabled_to_its_last_one() -> None:
    """Lost once: the goal before power went unconfirmed, and the motor jumped until the next one."""
    rig = DamiaoRig()
    rig.enabled()
    rig.cycle(1.0)
    rig.drive.disable()
    rig.twin.set_positions(np.zeros(3))
    rig.cycle()
    motor, send = rig.twin.motors[1], rig.wire.send
    lost: list[Frame] = []
    goals: list[float] = []

    def lossy(frames: Sequence[Frame], deadline_ns: int) -> None:
        goal = [f for f in frames if f.id == motor.id and not f.data.startswith(b"\xff" * 7)]
        dropped = goal if not lost else []
        lost.extend(dropped)
        send([f for f in frames if f not in dropped], deadline_ns)

    enable = motor._enable

    def noted() -> None:
        goals.append(motor._command[0])
        enable()

    rig.wire.send = lossy  # type: ignore[method-assign]
    motor._enable = noted  # type: ignore[method-assign]
    rig.drive.enable()
    assert len(lost) == 1
    np.testing.assert_allclose(goals, 0.0, atol=1e-3)


def test_a_firmware_that_does_not_tell_its_voltage_is_used_without() -> None:
    rig = DamiaoRig()
    for motor in rig.twin.motors:
        motor.mute = {VBUS}
    drive = rig.enabled()
    assert np.isnan(drive.look(rig.clock() + 50_000_000).voltage).all()


def test_feedforward_is_used_in_the_joints_sense_and_kept_within_the_motors_ranges() -> None:
    joints = [JOINTS[0], replace(JOINTS[1], direction=-1, zero_rad=0.3), replace(JOINTS[2], max_effort=2.0)]
    rig = DamiaoRig(joints=joints)
    rig.enabled()
    rig.cycle(0.1, velocity=[1.0, 1.0, 99.0], effort=[3.0, 3.0, -5.0])
    for said, expected in zip(rig.commands(), [(0.1, 1, 3), (0.2, -1, -3), (0.1, 30, -2)], strict=True):
        position, velocity, kp, kd, effort = said
        assert (position, velocity, effort) == pytest.approx(expected, abs=0.015)
        assert (kp, kd) == pytest.approx((30.0, 1.0), abs=0.13)


def test_every_model_is_followed_by_its_own_numbers() -> None:
    for model in MODELS:
        rig = DamiaoRig(joints=[replace(joint, model=model) for joint in JOINTS], start=0.3)
        rig.enabled()
        for _ in range(30):
            feedback = rig.cycle(0.3)
        np.testing.assert_allclose(feedback.position, 0.3, atol=0.02)
        assert isinstance(rig.twin.motors[0].codec, MitCodec)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("register", [21, 22, 23])
def test_a_range_that_is_none_is_not_taken_by_the_twin(register: int, value: float) -> None:
    """Random requests once wrote TMAX 0: the next feedback divided by it."""
    rig = DamiaoRig()
    motor = rig.twin.motors[0]
    before = dict(motor.registers)
    data = RegisterFrame(1, 0x55, register, struct.pack("<f", value)).pack()
    assert not rig.twin.handle(Frame(0x7FF, data), rig.clock())
    assert motor.registers == before
    rig.enabled()
