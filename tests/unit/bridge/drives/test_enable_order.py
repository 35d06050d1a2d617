"""Buses that are powered one after the other: the watchdogs of the first must outlast the last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.sim import VirtualClock, wire_to

from tests.drive_cases.rig import START, load_case

WATCHDOG_S = 0.1
MS = 1_000_000


@pytest.mark.parametrize(
    ("quick", "slow", "fault"),
    [
        ("damiao", "odrive", None),
        ("dynamixel", "odrive", None),
        ("robstride", "odrive", None),
        ("damiao", "dynamixel", "overheating"),
    ],
)
def test_no_watchdog_bites_while_a_slow_bus_is_powered(quick: str, slow: str, fault: str | None) -> None:
    """Lost once: an ODrive takes 230 ms to say that it holds, a Dynamixel that must reboot as long, and
    whatever was powered before let go."""
    clock, drives, twins, joints = VirtualClock(), {}, [], []
    for name in (quick, slow):
        kind, case = load_case(name)
        own = [replace(each, name=f"{name}_{each.name}", drive=name) for each in case.joints]
        twin = kind.make_twin(case.settings, own, START, timed=True)
        wire = wire_to(twin, clock, clock.sleep)
        drives[name] = kind.open_drive(case.settings, own, wire, clock=clock, start_slack_rad=0.1)
        twins.append(twin)
        joints += own
    group = DriveGroup(joints, drives, dict.fromkeys(drives, 5.0), clock)
    group.connect()
    group.arm_watchdogs(WATCHDOG_S)
    if fault:
        twins[1].set_fault(0, fault)
        twins[1].motors[0].set("present_temperature", 30)
    group.look(clock() + 50 * MS)
    group.enable()
    for twin in twins:
        assert all(twin.powered(clock()))
    feedback = group.cycle(None, clock() + 10 * MS)
    assert (feedback.limp, any(feedback.faults)) == ((), False)
    np.testing.assert_allclose(feedback.position, np.tile(START, 2), atol=5e-3)
