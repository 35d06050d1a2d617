"""The motors of a simulated robot by drive, its drives in virtual time, and faults by kind of drive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from wall_edge_bridge.drives.values import Setpoints
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim.base import FrameTwin
from wall_edge_bridge.sim.wires import VirtualClock

from wall_edge.cli.robot.evaluate import _faults
from wall_edge.config import RobotConfig, load_robot
from wall_edge.errors import ConfigError
from wall_edge.sim.faults import FAULTS
from wall_edge.sim.twins import RobotTwins
from wall_edge.sim.virtual_drives import VirtualDrives

TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop"
START = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
FEETECH_ONLY = {"force-lost", "servo-limits", "second-program"}


def mixed() -> RobotConfig:
    """Whose joints of one drive do not lie side by side."""
    config = load_robot(TABLETOP / "mixed.yaml")
    order = (0, 3, 1, 4, 2, 5)
    return replace(config, joints=tuple(config.joints[i] for i in order))


def test_positions_are_in_the_order_of_the_robot() -> None:
    config = at_rest(mixed())
    twins = RobotTwins(config, START)
    np.testing.assert_allclose(twins.positions(10**9), START, atol=1e-3)
    assert isinstance(twins.by_drive["arm"], FeetechTwin)
    assert isinstance(twins.by_drive["hand"], FrameTwin)
    names = [twin.joints[number].name for twin, number in twins.motors]
    assert names == [joint.name for joint in config.joints]


def at_rest(config: RobotConfig) -> RobotConfig:
    return replace(config, control=replace(config.control, rest=(0.0,) * 6))


def moved(config: RobotConfig, start: np.ndarray, goal: np.ndarray) -> tuple[VirtualDrives, VirtualClock]:
    """Drives after a second of setpoints that go from start to goal."""
    clock = VirtualClock()
    drives = VirtualDrives(config, RobotTwins(config, start), clock, clock.sleep)
    drives.connect()
    drives.check()
    drives.arm_watchdog(0.1)
    drives.enable()
    for part in np.linspace(0.0, 1.0, 200):
        drives.cycle(Setpoints.hold(start + part * (goal - start)), clock() + 10**7)
        clock.sleep(clock() + 5_000_000)
    return drives, clock


@pytest.mark.parametrize("name", ["robot", "damiao", "two_buses", "mixed"])
def test_every_example_follows_its_setpoints(name: str) -> None:
    config = load_robot(TABLETOP / f"{name}.yaml")
    goal = np.add(START, [0.2, -0.1, 0.1, -0.2, 0.1, -0.1])
    drives, clock = moved(config, START, goal)
    np.testing.assert_allclose(drives.positions(), goal, atol=0.03)
    feedback = drives.cycle(None, clock() + 10**7)
    np.testing.assert_allclose(feedback.position, drives.positions(), atol=2e-3)
    assert len(drives.written) == 200  # what asks for feedback alone is none
    np.testing.assert_allclose(drives.written[-1], goal)
    assert drives.counters.errors == 0


def test_setpoints_reach_the_joint_that_they_are_for() -> None:
    """One joint at a time, on two buses whose joints alternate."""
    config = at_rest(mixed())
    for joint in range(6):
        goal = np.zeros(6)
        goal[joint] = 0.2
        drives, _ = moved(config, np.zeros(6), goal)
        np.testing.assert_allclose(drives.positions(), goal, atol=0.03)


def test_faults_that_only_some_kinds_can_have(robot: RobotConfig) -> None:
    assert {name for name, fault in FAULTS.items() if fault.kinds} == FEETECH_ONLY
    for config in (mixed(), load_robot(TABLETOP / "damiao.yaml")):
        assert {name for name, fault in FAULTS.items() if not fault.fits(config)} == FEETECH_ONLY
        assert set(_faults("all", config)) == set(FAULTS) - FEETECH_ONLY
        with pytest.raises(ConfigError, match=r"fault servo-limits on drives.\w+ of kind damiao; expected"):
            FAULTS["servo-limits"].require(config, "servo-limits")
    assert _faults("all", robot) == list(FAULTS)


def test_a_fault_that_some_kinds_cannot_notice(robot: RobotConfig) -> None:
    """An ODrive's estimates come unasked, and say no time."""
    drives = {"arm": kind_named("odrive").settings(kind="odrive")}
    odrive = replace(robot, drives=drives)
    assert "feedback-late" not in _faults("all", odrive)
    with pytest.raises(ConfigError, match=r"fault feedback-late on drives.arm of kind odrive; expected"):
        FAULTS["feedback-late"].require(odrive, "feedback-late")


@pytest.mark.parametrize("drive", ["arm", "hand"])
@pytest.mark.parametrize(
    "hook",
    [
        pytest.param(lambda twin, number: twin.lose_torque(number), id="torque"),
        pytest.param(lambda twin, number: twin.silence(number), id="silence"),
        pytest.param(lambda twin, number: twin.shift_zero(number, 0.3), id="zero"),
    ],
)
def test_a_motors_fault_is_that_joints_alone(drive: str, hook: Callable[[object, int], None]) -> None:
    config = at_rest(mixed())
    drives, clock = moved(config, np.zeros(6), np.zeros(6))
    joint = next(i for i, each in enumerate(config.joints) if each.drive == drive)
    before = drives.cycle(Setpoints.hold(np.zeros(6)), clock() + 10**7)
    hook(*drives.twins.motor(joint))
    for _ in range(10):
        clock.sleep(clock() + 5_000_000)
        after = drives.cycle(Setpoints.hold(np.zeros(6)), clock() + 10**7)
    stale = {i for i in range(6) if after.received_ns[i] == before.received_ns[i]}
    shifted = {i for i in range(6) if abs(drives.positions()[i] + 0.3) < 0.1}
    limp = {i for i, each in enumerate(config.joints) if each.name in after.limp}
    assert stale | shifted | limp == {joint}
