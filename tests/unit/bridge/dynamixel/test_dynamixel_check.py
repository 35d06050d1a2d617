"""What is compared before power: a motor that would do, or report, something else is refused."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.dynamixel import DynamixelJoint

from tests.unit.bridge.dynamixel.dynamixel_arm import Arm, seven, with_
from wall_edge.config_loader import Invalid
from wall_edge.errors import BusTimeout, DriveError

REFUSED: list[tuple[dict[str, int], str]] = [
    ({"operating_mode": 1}, r"operating_mode \(register 11\) is 1 \(velocity\).*3 \(position\)"),
    ({"operating_mode": 4}, r"operating_mode .*4 \(extended position\).*3 \(position\)"),
    ({"drive_mode": 8}, r"drive_mode \(register 10\) is 8.*must not switch the torque on"),
    ({"drive_mode": 1}, r"drive_mode \(register 10\) is 1.*reverse: false"),
    ({"shadow_id": 5}, r"shadow_id \(register 12\) is 5.*another joint"),
    ({"pwm_limit": 0}, r"pwm_limit \(register 36\) is 0.*holds nothing"),
    ({"min_position": 1500}, r"min_position \(register 52\) is 1500 tick.*at most 1426.*-1\.5 to 1 rad"),
    ({"max_position": 2800}, r"max_position \(register 48\) is 2800 tick.*at least 3056"),
    ({"return_delay": 250}, r"return_delay \(register 9\) is 250.*500 µs.*333 Hz.*write 0 to register 9"),
]
"""Of wrist_flex: id 4, direction -1, zero 2078."""


@pytest.mark.parametrize(("registers", "message"), REFUSED)
def test_a_motor_with_other_settings_is_refused_with_register_both_values_and_fix(
    registers: dict[str, int], message: str
) -> None:
    arm = Arm()
    arm.drive.check()
    for name, value in registers.items():
        arm.motors[3].set(name, value)
    before = arm.memory()
    with pytest.raises(DriveError, match=rf"wrist_flex \(id 4\): {message}"):
        arm.drive.check()
    assert arm.memory() == before


def test_a_return_delay_that_robot_yaml_knows_of_is_accepted() -> None:
    arm = Arm(return_delay_us=500)
    assert arm.motors[0].get("return_delay") == 250
    arm.drive.check()


def test_reverse_mode_and_homing_offset_are_compared_with_the_joint() -> None:
    joints = with_(1, reverse=True, homing_offset=100)
    arm = Arm(joints)
    arm.drive.check()
    np.testing.assert_allclose(arm.cycle().position, arm.standing(), atol=0.001)
    arm.drive.enable()
    np.testing.assert_allclose(arm.follow(np.zeros(6)).position, 0, atol=0.002)
    arm.drive.disable()
    arm.motors[1].set("homing_offset", 101)
    with pytest.raises(DriveError, match=r"homing_offset \(register 20\) is 101 tick.*100 as in ROBOT.yaml"):
        arm.drive.check()


@pytest.mark.parametrize(
    ("number", "message"),
    [(1060, "XL430-W250.*XL330-M288 as in"), (30, "MX-28.*another series"), (7777, "model 7777.*X series")],
)
def test_a_motor_of_another_model_is_refused_at_connect(number: int, message: str) -> None:
    arm = Arm(with_(2, model="XL330-M288"), connect=False)
    arm.motors[2].set("model", number)
    with pytest.raises(DriveError, match=f"elbow_flex.*register 0.*{message}"):
        arm.drive.connect()


def test_any_model_of_the_series_will_do_where_none_is_said() -> None:
    arm = Arm(connect=False)
    arm.motors[2].set("model", 1120)
    arm.drive.connect()
    arm.drive.check()


# --- what a motor that does not answer is told to be ------------------------------------------------------


def refused(arm: Arm) -> str:
    with pytest.raises((BusTimeout, DriveError)) as caught:
        arm.drive.connect()
    assert not any(arm.powered())
    return str(caught.value)


def test_two_motors_with_one_id_are_told_at_connect() -> None:
    arm = Arm(connect=False)
    arm.motors[3].set("id", 5)
    message = refused(arm)
    assert re.search(r"wrist_flex \(id 4\), wrist_roll \(id 5\)", message)
    assert "id 5: its replies are damaged: two motors with this id" in message


def test_two_like_motors_with_one_id_that_answer_pings_as_one_are_told_too() -> None:
    arm = Arm(connect=False)
    arm.motors[3].set("id", 5)
    for motor in arm.motors[3:5]:
        motor.angle = 2048.0
        motor.power_on()
    assert len(arm.scan([5])) == 1
    assert "id 5" in refused(arm)


def test_a_motor_of_protocol_1_is_told_by_name() -> None:
    arm = Arm(connect=False)
    arm.motors[0].set("protocol", 1)
    assert "id 1: it speaks Protocol 1.0" in refused(arm)


def test_a_motor_that_answers_pings_only_is_told_so() -> None:
    arm = Arm(connect=False)
    arm.motors[0].set("status_return_level", 0)
    assert "id 1: it answers pings, not reads: its status return level (register 68) is 0" in refused(arm)


def test_fast_sync_reads_that_old_firmware_does_not_know_are_refused_by_the_motors_name() -> None:
    arm = Arm(connect=False, fast=True)
    arm.motors[2].knows_fast = False
    message = refused(arm)
    assert "elbow_flex (id 3): no answer to fast sync reads" in message
    assert "fast: false" in message
    assert "id 1" not in message


# --- what ROBOT.yaml can say ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"id": 253}, "id"),
        ({"id": -1}, "id"),
        ({"model": "XM430"}, "model"),
        ({"zero_ticks": 100}, "zero_ticks"),
        ({"zero_ticks": 2**21, "extended": True}, "zero_ticks"),
        ({"homing_offset": 2_000_000}, "homing_offset"),
        ({"torque_constant": 0.0}, "torque_constant"),
    ],
)
def test_joints_that_no_motor_can_be_are_refused(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(Invalid) as caught:
        with_(0, **keys)
    assert caught.value.key == key


def test_a_joint_in_extended_mode_may_turn_farther() -> None:
    joint = DynamixelJoint("wrist", 1, -20.0, 20.0, 3.0, extended=True)
    with pytest.raises(Invalid, match="0 to 4095"):
        dataclasses.replace(joint, extended=False)
    arm = Arm([joint])
    arm.drive.check()
    arm.drive.enable()
    np.testing.assert_allclose(arm.follow(np.array([-15.0]), 3.0).position, -15.0, atol=0.004)


def test_efforts_are_of_the_models_torque_constant_or_the_joints_own() -> None:
    joints = seven()
    joints[1] = dataclasses.replace(joints[1], model="XM430-W350")
    joints[2] = dataclasses.replace(joints[2], torque_constant=0.5)
    joints[3] = dataclasses.replace(joints[3], direction=-1)
    joints[4] = dataclasses.replace(joints[4], model="XL430-W250")
    joints[5] = dataclasses.replace(joints[5], model="XH430-W210")
    arm = Arm(joints)
    for motor in arm.motors:
        motor.set("torque_enable", 1)
        motor.set("goal_position", 2148)
    effort = arm.drive.look(arm.soon()).effort
    counts = 300
    expected = [
        counts * 1e-3 * 0.354,
        counts * 2.69e-3 * 1.783,
        counts * 1e-3 * 0.5,
        -counts * 1e-3 * 0.354,
        counts * 1e-3 * 1.5,
        np.nan,
        counts * 1e-3 * 0.354,
    ]
    np.testing.assert_allclose(effort, expected, rtol=1e-9)
