"""What motors hold of a calibration: told, and compared with ROBOT.yaml before anything is powered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.drive_cases.rig import START, Rig
from wall_edge.config_loader import Invalid
from wall_edge.errors import DriveError

CALIBRATED = ("feetech", "dynamixel")
MakeRig = Callable[..., Rig]
RANGE = (700, 3400)


def calibrated(make_rig: MakeRig, **keys: Any) -> Rig:
    """Joints of which ROBOT.yaml says what the memory must hold; skips for kinds without such keys."""
    probe = make_rig()
    if probe.kind.name not in CALIBRATED:
        pytest.skip("these motors hold nothing to compare")
    if probe.kind.name == "dynamixel":
        keys = {"extended": True, **keys}
    joints = [replace(j, **{"homing_offset": 100 * i - 250, "range_ticks": RANGE, **keys})
              for i, j in enumerate(probe.joints)]  # fmt: skip
    rig = make_rig(joints=joints)
    rig.drive.connect()
    return rig


def motor(rig: Rig, index: int) -> Any:
    twin: Any = rig.twin
    return list(twin.servos.values())[index] if rig.kind.name == "feetech" else twin.motors[index]


def test_a_drive_tells_what_its_motors_hold_or_that_there_is_nothing(make_rig: MakeRig) -> None:
    """``motors calibrate`` writes it, so that the next start notices a motor that was calibrated since."""
    rig = make_rig()
    rig.drive.connect()
    before = rig.memory()
    keys = rig.drive.memory()
    assert rig.memory() == before
    assert len(keys) == 6
    assert all(bool(each) == (rig.kind.name in CALIBRATED) for each in keys)
    joints = [replace(joint, **each) for joint, each in zip(rig.joints, keys, strict=True)]
    again = rig.another_drive(joints=joints)
    again.connect()
    again.check()


def test_motors_that_are_calibrated_as_robot_yaml_says_pass_and_move(make_rig: MakeRig) -> None:
    rig = calibrated(make_rig)
    rig.drive.check()
    assert [each["homing_offset"] for each in rig.drive.memory()] == [100 * i - 250 for i in range(6)]
    assert [tuple(each["range_ticks"]) for each in rig.drive.memory()] == [RANGE] * 6
    np.testing.assert_allclose(rig.cycle().position, START, atol=rig.case.tolerance)
    rig.drive.enable()
    goal = START + 0.1
    np.testing.assert_allclose(rig.follow(goal).position, goal, atol=rig.near)
    np.testing.assert_allclose(rig.standing(), goal, atol=rig.near)


@pytest.mark.parametrize(
    ("register", "value", "expected"),
    [
        ({"feetech": "homing_offset", "dynamixel": "homing_offset"}, 51, "50 as in ROBOT.yaml"),
        ({"feetech": "min_angle", "dynamixel": "min_position"}, 699, "700 as in range_ticks"),
        ({"feetech": "max_angle", "dynamixel": "max_position"}, 3401, "3400 as in range_ticks"),
    ],
)
def test_memory_that_contradicts_is_one_line_before_power(
    make_rig: MakeRig, register: dict[str, str], value: int, expected: str
) -> None:
    """Another arm on the port, or a calibration after the file was made."""
    rig = calibrated(make_rig)
    name = register[rig.kind.name]
    motor(rig, 3).set(name, value)
    before = rig.memory()
    with pytest.raises(
        DriveError, match=rf"wrist_flex \(id 4\): {name} .* is {value} tick; expected {expected}"
    ) as e:
        rig.drive.check()
    assert "wall-edge init" in str(e.value)
    assert "\n" not in str(e.value)
    assert rig.memory() == before
    assert rig.powered() == (False,) * 6


def test_keys_that_robot_yaml_does_not_have_are_not_compared(make_rig: MakeRig) -> None:
    rig = calibrated(make_rig, homing_offset=None, range_ticks=None)
    motor(rig, 3).set("homing_offset", 7)
    rig.drive.check()


@pytest.mark.parametrize("tick", [4, 4094])
def test_a_count_that_wraps_beside_the_range_is_told(make_rig: MakeRig, tick: int) -> None:
    """LeRobot issue 3587: a joint just past its end reads almost a whole turn elsewhere."""
    rig = calibrated(make_rig, range_ticks=(900, 4090) if tick == 4 else (6, 3300))
    rig.drive.check()
    if rig.kind.name == "feetech":
        motor(rig, 0).ticks = tick + motor(rig, 0).get("homing_offset")
        with pytest.raises(
            DriveError, match=rf"reads {tick} ticks: \d+ beyond its range, and its count wraps"
        ):
            rig.drive.check()
    else:
        motor(rig, 0).angle = 2000 + 4096 * (1 if tick == 4 else -2)
        with pytest.raises(DriveError, match=r"reads -?\d+ ticks: whole turns off its range"):
            rig.drive.check()


@pytest.mark.parametrize("ticks", [(900, 4100), (-1, 3000), (3000, 900), (5, 5)])
def test_ranges_that_no_motor_can_hold_are_refused(make_rig: MakeRig, ticks: tuple[int, int]) -> None:
    with pytest.raises(Invalid, match="range_ticks"):
        calibrated(make_rig, range_ticks=ticks)
