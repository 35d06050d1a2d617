"""How fast seven motors go on a line that takes time, and what a return delay costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.kinds.dynamixel import KIND, DynamixelSettings
from wall_edge_bridge.kinds.dynamixel.codec import SyncWriter, build_sync_write

from tests.unit.bridge.dynamixel.dynamixel_arm import Arm, seven
from wall_edge.config_loader import Invalid
from wall_edge.errors import ConfigError


def rate(arm: Arm, cycles: int = 400) -> float:
    arm.drive.check()
    arm.drive.arm_watchdog(0.1)
    arm.drive.enable()
    hold, begin = Setpoints.hold(np.zeros(7)), arm.clock()
    for _ in range(cycles):
        since = arm.clock()
        feedback = arm.drive.cycle(hold, arm.soon())
        assert (feedback.received_ns > since).all()
        assert feedback.faults == ((),) * 7
    assert arm.drive.counters.errors == 0
    return cycles / ((arm.clock() - begin) * 1e-9)


CEILINGS: list[tuple[dict[str, Any], float]] = [
    ({}, 571),
    ({"fast": True}, 746),
    ({"baudrate": 2_000_000}, 1143),
    ({"baudrate": 3_000_000}, 1714),
    ({"return_delay_us": 500}, 190),
]
"""Of protocols.md [Hz]."""


@pytest.mark.parametrize(("keys", "ceiling"), CEILINGS)
def test_seven_joints_come_within_ninety_percent_of_the_published_ceiling(
    keys: dict[str, Any], ceiling: float
) -> None:
    settings = DynamixelSettings(kind="dynamixel", **keys)
    assert 1e9 / KIND.cycle_ns(settings, seven()) == pytest.approx(ceiling, abs=0.5)
    assert 0.9 * ceiling <= rate(Arm(seven(), timed=True, **keys)) <= ceiling + 0.5


def test_velocity_and_current_in_every_cycle_cost_what_the_ceiling_says() -> None:
    ceiling = 1e9 / KIND.cycle_ns(DynamixelSettings(kind="dynamixel", full_feedback=True), seven())
    assert ceiling == pytest.approx(461, abs=0.5)
    assert rate(Arm(seven(), timed=True, full_feedback=True)) >= 0.9 * ceiling


def test_motors_with_the_factorys_return_delay_cap_the_rate_whatever_the_settings_say() -> None:
    arm = Arm(seven(), timed=True)
    for motor in arm.motors:
        motor.set("return_delay", 250)
    begin = arm.clock()
    for _ in range(50):
        arm.drive.cycle(None, arm.soon())
    assert 50 / ((arm.clock() - begin) * 1e-9) < 190.5


def test_velocity_and_current_are_known_at_once_and_at_most_two_cycles_over_30_ms_old() -> None:
    arm = Arm()
    arm.drive.enable()
    assert np.isfinite(arm.cycle(None).velocity).all()
    arm.drive.cycle(Setpoints.hold(arm.standing() + 0.3), arm.soon())
    told = arm.until(lambda feedback: (np.abs(feedback.velocity) > 0.1).all(), 0.04, arm.standing() + 0.3)
    assert (np.sign(told.velocity) == 1).all()
    assert (told.effort > 0).all()


@pytest.mark.parametrize("baudrate", [500_000, 1_500_000])
def test_a_baud_rate_no_motor_has_is_refused(baudrate: int) -> None:
    with pytest.raises(Invalid, match="1000000"):
        DynamixelSettings(kind="dynamixel", baudrate=baudrate)


def test_the_loops_sync_write_is_the_codecs_byte_for_byte() -> None:
    """With negative goals, and with one whose bytes are a header's and are stuffed."""
    writer = SyncWriter(116, (1, 2, 253))
    for goals in ((0, 1, 4095), (-1, -(1 << 31), (1 << 31) - 1), (0x00FDFFFF, -1, 0x41FDFFFF)):
        data = {
            i: goal.to_bytes(4, "little", signed=True) for i, goal in zip((1, 2, 253), goals, strict=True)
        }
        assert writer.packet(goals) == build_sync_write(116, data)
    with pytest.raises(ConfigError, match="32 bits"):
        writer.packet((0, 0, 1 << 31))


def test_a_short_timeout_is_no_hindrance_to_what_is_asked_outside_cycles() -> None:
    """Settings of seven motors take longer on the line than a cycle of 500 Hz may wait for its replies."""
    arm = Arm(seven(), timed=True, baudrate=3_000_000, timeout_ms=1.5)
    arm.drive.check()
    arm.drive.enable()
    assert arm.drive.torque() == (True,) * 7
