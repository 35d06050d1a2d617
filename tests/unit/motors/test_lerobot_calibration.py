"""LeRobot's calibration files: what is one, and what is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wall_edge.errors import ConfigError, WallEdgeError
from wall_edge.motors.lerobot.calibration import (
    Calibration,
    MotorCalibration,
    read_calibration,
    without_wheels,
)
from wall_edge.motors.lerobot.joints import KINDS, plan_joint

PAN = {"id": 1, "drive_mode": 0, "homing_offset": -1644, "range_min": 880, "range_max": 3457}


def written(folder: Path, content: object) -> Path:
    path = folder / "arm.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_motors_come_in_the_files_order(tmp_path: Path) -> None:
    motors = read_calibration(written(tmp_path, {"b": PAN, "a": {**PAN, "id": 2}}))
    assert list(motors.items()) == [
        ("b", MotorCalibration(1, 0, -1644, 880, 3457)),
        ("a", MotorCalibration(2, 0, -1644, 880, 3457)),
    ]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "expected valid JSON; run lerobot-calibrate"),
        ("{", "valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", r"is \[\]; expected a mapping"),
        ("null", "is null"),
        ("{}", "0 motors"),
        ('{"pan": 1}', "pan is 1; expected a mapping"),
        ('{"pan": {"id": 1}, "pan": {}}', "pan appears twice"),
        ({"motor_names": ["pan"], "homing_offset": [0]}, "from before June 2025"),
        ({"pan": {k: v for k, v in PAN.items() if k != "range_max"}}, "pan.range_max is missing"),
        ({"pan": {**PAN, "model": "sts3215"}}, "pan.model is not a known key"),
        ({"pan": {**PAN, "id": "1"}}, "pan.id is '1'; expected a whole number"),
        ({"pan": {**PAN, "id": True}}, "pan.id is True"),
        ({"pan": {**PAN, "id": 1.0}}, "pan.id is 1.0"),
        ({"pan": {**PAN, "id": -1}}, "pan.id is -1; expected 0 to 2047"),
        ('{"pan": {"id": NaN}}', "pan.drive_mode is missing"),
        ({"pan": {**PAN, "homing_offset": 10**30}}, "pan.homing_offset is 1"),
        ({"pan": {**PAN, "drive_mode": -1}}, "pan.drive_mode is -1"),
        ({"pan": {**PAN, "range_max": 880}}, r"pan.range_min is 880; expected less than range_max \(880\)"),
        ({"pan": {**PAN, "range_min": 1 << 22}}, "pan.range_min"),
        ({"pan": PAN, "lift": PAN}, "lift.id is 1, as pan.id"),
        ({"pan.pos": PAN}, "'pan.pos'; expected a motor's name"),
        ({"": PAN}, "expected a motor's name"),
        ({"pan\n": PAN}, "expected a motor's name"),
        ({"x" * 65: PAN}, "expected a motor's name"),
        ({f"m{i}": {**PAN, "id": i} for i in range(65)}, "65 motors; expected 1 to 64"),
        ("x" * (300 << 10), "at most 262144"),
    ],
)
def test_what_is_no_calibration_is_one_line(tmp_path: Path, content: object, named: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=named) as caught:
        read_calibration(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError):
            read_calibration(path)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*PAN, "pan", "motor_names", ""]), inner, max_size=6
    ),
    max_leaves=12,
))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_whatever_json_says_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = written(tmp_path_factory.getbasetemp(), data)
    motors: Calibration = {}
    refusal = ""
    try:
        motors = read_calibration(path)
    except ConfigError as error:
        refusal = str(error)
    assert bool(motors) != bool(refusal)
    assert "\n" not in refusal
    assert all(motor.range_min < motor.range_max for motor in motors.values())


@given(
    kind=st.sampled_from(KINDS),
    name=st.sampled_from(["pan", "wrist_roll", "gripper"]),
    numbers=st.tuples(
        st.integers(0, 300),
        st.integers(0, 255),
        st.integers(-3000, 3000),
        st.integers(-400, 4200),
        st.integers(1, 4400),
    ),
)
@settings(max_examples=300, deadline=None)
def test_a_motor_becomes_a_joint_of_its_kind_or_one_line(
    kind: str, name: str, numbers: tuple[int, int, int, int, int]
) -> None:
    motor_id, drive_mode, offset, low, span = numbers
    motor = MotorCalibration(motor_id, drive_mode, offset, low, low + span)
    plan, refusal = None, f"arm.json: {name}"
    try:
        plan = plan_joint(kind, name, motor, "degrees", "arm.json")
    except WallEdgeError as error:
        refusal = str(error)
    assert plan is None or plan.keys["id"] == numbers[0]
    assert refusal.startswith(f"arm.json: {name}")
    assert "\n" not in refusal


@pytest.mark.parametrize(
    ("name", "low", "high", "named"),
    [
        ("elbow_flex", 3, 4093, r"elbow_flex.range_min is 3; .* wrapped inside of its range"),
        ("elbow_flex", 0, 4095, "wrapped inside of its range"),
        ("wrist_roll", 1, 4095, "wrapped inside of its range"),
        ("elbow_flex", -90, 90, "range_min is -90; expected 0 to 4095 ticks"),
        ("elbow_flex", 3000, 4096, "range_max is 4096; expected 0 to 4095 ticks"),
    ],
)
def test_a_feetech_range_over_the_place_where_the_count_wraps_is_refused(
    name: str, low: int, high: int, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        plan_joint("feetech", name, MotorCalibration(1, 0, 0, low, high), "degrees", "arm.json")


def test_wheels_are_no_joints() -> None:
    """LeKiwi's file has them beside its arm; they turn by speed."""
    wheel = MotorCalibration(7, 0, 0, 0, 4095)
    motors: Calibration = {"arm_pan": MotorCalibration(1, 0, 0, 5, 9), "base_left_wheel": wheel}
    assert without_wheels(motors) == ({"arm_pan": motors["arm_pan"]}, ["base_left_wheel"])
