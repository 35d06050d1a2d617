"""A servo's own settings must agree with the joint: A3."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.drive_cases.feetech import JOINTS
from tests.unit.bridge.feetech.loop import Loop
from wall_edge.errors import DriveError


@pytest.mark.parametrize(
    ("register", "value", "named"),
    [
        (
            "min_angle",
            1500,
            r"elbow_flex \(id 3\): min_angle \(register 9\) is 1500 tick; .* at most 1090",
        ),
        ("max_angle", 2500, r"elbow_flex \(id 3\): max_angle \(register 11\) is 2500 tick; .* at least 2720"),
        ("operating_mode", 1, r"operating_mode \(register 33\) is 1; expected 0"),
        ("angular_resolution", 2, r"angular_resolution \(register 30\) is 2; expected 1"),
        ("max_torque", 0, r"max_torque \(register 16\) is 0"),
        ("torque_limit", 0, r"torque_limit \(register 48\) is 0"),
        ("homing_offset", -7, r"homing_offset \(register 31\) is -7 tick; expected 100 as in ROBOT.yaml"),
    ],
)
def test_a_setting_that_contradicts_the_joint_is_named(register: str, value: int, named: str) -> None:
    """Two tenths of a tick of a limit are rounding; nothing is written, whatever is found."""
    loop = Loop()
    loop.twin.servos[3].set("homing_offset", 100)
    drive = loop.open(tuple(replace(j, homing_offset=100 if j.id == 3 else None) for j in JOINTS))
    drive.check()
    loop.twin.servos[3].set(register, value)
    with pytest.raises(DriveError, match=named) as caught:
        drive.check()
    assert "\n" not in str(caught.value)
    assert {request.instruction for request in loop.take()} == {0x82}


def test_limits_that_just_suffice_and_multi_turn_are_accepted() -> None:
    loop = Loop()
    for joint, servo in zip(JOINTS, loop.twin.servos.values(), strict=True):
        ends = [round(joint.zero_ticks + joint.direction * end * 2048 / math.pi) for end in (-1.5, 1.0)]
        servo.set("min_angle", min(ends))
        servo.set("max_angle", max(ends))
    loop.open().check()
    for servo in loop.twin.servos.values():
        servo.set("min_angle", 0)
        servo.set("max_angle", 0)
    loop.open().check()
