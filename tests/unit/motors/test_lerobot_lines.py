"""Our lines against LeRobot's formulas, written down again; ``tests/peers`` asks LeRobot itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lerobot_lines import Floats, Line
from wall_edge.motors.lerobot.calibration import MotorCalibration
from wall_edge.motors.lerobot.units import Units

HALF_A_TICK = 0.5 + 1e-3


def normalized(mode: str, motor: MotorCalibration, ticks: Floats, reversible: bool) -> Floats:
    """Of ticks inside the range: ``MotorsBus._normalize``, 0.4.4."""
    low, high = motor.range_min, motor.range_max
    if mode == "degrees":
        return (ticks - (low + high) / 2) * 360 / 4095
    share = (ticks - low) / (high - low)
    turned = reversible and motor.drive_mode
    if mode == "m100":
        return (share * 200 - 100) * (-1 if turned else 1)
    return 100 - share * 100 if turned else share * 100


ranges = st.tuples(st.integers(0, 4095), st.integers(20, 3999)).filter(lambda r: r[0] + r[1] <= 4095)


@pytest.mark.parametrize("kind", ["feetech", "dynamixel"])
@pytest.mark.parametrize("name", ["elbow_flex", "gripper"])
@pytest.mark.parametrize("units", ["degrees", "m100"])
@given(range_=ranges, drive_mode=st.integers(0, 1), offset=st.integers(-2047, 2047))
@settings(max_examples=60, deadline=None)
def test_every_tick_of_the_range_is_lerobots_number(
    kind: str, name: str, units: Units, range_: tuple[int, int], drive_mode: int, offset: int
) -> None:
    motor = MotorCalibration(3, drive_mode, offset, range_[0], sum(range_))
    line = Line(kind, name, motor, units)
    ticks = np.arange(motor.range_min, motor.range_max + 1, dtype=float)
    mode = "0-100" if name == "gripper" else units
    expected = normalized(mode, motor, ticks, kind == "feetech")
    a_tick = abs(expected[1] - expected[0])
    np.testing.assert_allclose(line.values(ticks), expected, atol=1e-4 * a_tick)
    np.testing.assert_array_equal(line.ticks(expected), ticks)
    between = expected[:-1] + 0.5 * (expected[1] - expected[0])
    assert np.abs(line.ticks(between) - (ticks[:-1] + 0.5)).max() <= HALF_A_TICK


def test_wrist_roll_is_a_whole_turn_of_4095_ticks() -> None:
    motor = MotorCalibration(5, 0, -1785, 0, 4095)
    line = Line("feetech", "wrist_roll", motor, "degrees")
    np.testing.assert_allclose(line.values(np.array([0.0, 4095.0])), [-180, 180], atol=1e-6)
    assert line.joint.lower == pytest.approx(-np.pi + 0.02, abs=1e-3)
    assert line.joint.upper == pytest.approx(np.pi - 0.02, abs=3e-3)


def test_drive_mode_turns_percent_of_feetech_and_nothing_else() -> None:
    ends = np.array([1000.0, 3000.0])
    motor = MotorCalibration(1, 1, 0, 1000, 3000)
    np.testing.assert_allclose(Line("feetech", "pan", motor, "m100").values(ends), [100, -100], atol=1e-6)
    np.testing.assert_allclose(Line("feetech", "gripper", motor, "m100").values(ends), [100, 0], atol=1e-6)
    assert np.diff(Line("feetech", "pan", motor, "degrees").values(ends)) > 0
    line = Line("dynamixel", "pan", motor, "m100")
    np.testing.assert_allclose(line.values(ends), [-100, 100], atol=1e-6)
    assert line.joint.reverse
