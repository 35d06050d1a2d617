"""Powering one bus takes longer than another's watchdog: the motors that hold already must not fall."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.kinds.robstride import KIND
from wall_edge_bridge.sim import wire_to

from tests.drive_cases.robstride import CASE
from wall_edge.errors import DriveError

WATCHDOG_S = 3.0
"""A busy machine may stall for two seconds, and the keeper cycles four times in this."""
JOINTS = [replace(CASE.joints[i], drive=name) for i, name in ((0, "first"), (1, "second"))]
START = np.array([0.1, -0.2])


def slow_robot() -> tuple[DriveGroup, list[Any]]:
    """Two buses in real time; the second needs twice the watchdog's time for its torque."""
    twins = [KIND.make_twin(CASE.settings, [JOINTS[i]], START[[i]], timed=False) for i in range(2)]
    drives = {
        joint.drive: KIND.open_drive(
            CASE.settings, [joint], wire_to(twin, time.monotonic_ns, _sleep), clock=time.monotonic_ns
        )
        for joint, twin in zip(JOINTS, twins, strict=True)
    }
    power = drives["second"].enable

    def slowly() -> None:
        time.sleep(2 * WATCHDOG_S)
        power()

    drives["second"].enable = slowly  # type: ignore[method-assign]
    for drive in drives.values():  # as fast as one another, says each: the order stays, both take long
        drive.enable_s = 2 * WATCHDOG_S  # type: ignore[misc]
    return DriveGroup(JOINTS, drives, {"first": 5000.0, "second": 5000.0}), twins


def _sleep(until_ns: int) -> None:
    time.sleep(max(0, until_ns - time.monotonic_ns()) * 1e-9)


def test_a_bus_that_holds_is_fed_while_another_is_powered() -> None:
    group, twins = slow_robot()
    with group:
        group.arm_watchdogs(WATCHDOG_S)
        group.enable()
        assert [twin.powered(time.monotonic_ns())[0] for twin in twins] == [True, True]
        feedback = group.cycle(None, time.monotonic_ns() + 5 * 10**9)
        assert not feedback.limp
        np.testing.assert_allclose(feedback.position, START, atol=0.01)
        group.disable()
    assert "keeper" not in [thread.name for thread in threading.enumerate()]


def test_the_feeding_ends_when_the_other_bus_refuses() -> None:
    group, twins = slow_robot()
    with group:
        group.arm_watchdogs(WATCHDOG_S)
        twins[1].set_fault(0, "stall")
        with pytest.raises(DriveError, match="stall"):
            group.enable()
        assert not any(twin.powered(time.monotonic_ns())[0] for twin in twins)
    assert "keeper" not in [thread.name for thread in threading.enumerate()]
