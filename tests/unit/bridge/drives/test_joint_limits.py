"""The last check before anything goes out, and what ROBOT.yaml may say of joints and buses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.drives import CanSettings, ImpedanceJoint, Joint, OffsetJoint, SerialSettings
from wall_edge_bridge.drives.limits import JointLimits

from wall_edge.config_loader import Invalid
from wall_edge.errors import DriveError

JOINTS = [Joint("a", 1, -1.0, 2.0, 1.0), Joint("b", 2, 0.0, 0.5, 1.0)]
LIMITS = JointLimits(JOINTS)
NUMBER = st.floats(allow_nan=True, allow_infinity=True)


@given(st.tuples(NUMBER, NUMBER), st.sampled_from([0.0, 1e-6, 0.1]))
def test_what_passes_is_inside_and_what_is_moved_is_moved_by_the_slack_at_most(
    position: tuple[float, float], slack: float
) -> None:
    try:
        there = LIMITS.require_setpoint(position, slack)
    except DriveError:
        assert not all(j.lower - slack <= p <= j.upper + slack for j, p in zip(JOINTS, position, strict=True))
        return
    assert all(joint.lower <= p <= joint.upper for joint, p in zip(JOINTS, there, strict=True))
    assert np.abs(there - np.array(position)).max() <= slack + 1e-12


@pytest.mark.parametrize("bad", [[], [0.0], [0.0] * 3, [[0.0, 0.0]], 0.0, [[0.0], 1], "ab", None, {}])
def test_anything_but_one_number_a_joint_is_refused(bad: Any) -> None:
    with pytest.raises(DriveError, match="setpoints"):
        LIMITS.require_setpoint(bad, 0.0)


def test_the_first_joint_beyond_its_limits_is_named_with_both() -> None:
    with pytest.raises(DriveError, match=r"joint b: setpoint 0.6 rad; expected 0 to 0.5 rad; mend"):
        LIMITS.require_setpoint([0.0, 0.6], 0.05)


@pytest.mark.parametrize(
    ("joint", "change", "named"),
    [
        (Joint, {"lower": 2.0}, "lower"),
        (Joint, {"lower": math.nan}, "lower"),
        (Joint, {"upper": math.inf}, "upper"),
        (Joint, {"max_velocity": 0.0}, "max_velocity"),
        (Joint, {"max_jerk": -1.0}, "max_jerk"),
        (Joint, {"name": "a/b"}, "name"),
        (OffsetJoint, {"zero_rad": math.nan}, "zero_rad"),
        (ImpedanceJoint, {"kp": -1.0}, "kp"),
        (ImpedanceJoint, {"kd": 0.0}, "kd"),
        (ImpedanceJoint, {"max_effort": 0.0}, "max_effort"),
    ],
)
def test_a_joint_that_cannot_be_meant_is_refused_by_its_key(
    joint: type[Joint], change: dict[str, Any], named: str
) -> None:
    good = joint("a", 1, -1.0, 2.0, 1.0)
    with pytest.raises(Invalid, match=named) as caught:
        replace(good, **change)
    assert caught.value.key == named


@pytest.mark.parametrize(
    ("settings", "change", "named"),
    [
        (SerialSettings, {"timeout_ms": 0.0}, "timeout_ms"),
        (SerialSettings, {"baudrate": 10}, "baudrate"),
        (SerialSettings, {"port": "\x07"}, "port"),
        (CanSettings, {"bitrate": 2_000_000}, "bitrate"),
        (CanSettings, {"data_bitrate": 500_000}, "data_bitrate"),
        (CanSettings, {"channel": "\x00"}, "channel"),
    ],
)
def test_a_bus_that_cannot_be_meant_is_refused_by_its_key(
    settings: type[Any], change: dict[str, Any], named: str
) -> None:
    good = settings(kind="k")
    with pytest.raises(Invalid, match=named):
        replace(good, **change)


def test_settings_are_moved_to_a_simulated_place() -> None:
    can = CanSettings("k", channel="can0", interface="socketcan").at("/tmp/bus")
    assert (can.place, can.interface) == ("/tmp/bus", "unix")
    assert SerialSettings("k", port="/dev/ttyACM0").at("/dev/pts/3").place == "/dev/pts/3"
