"""How ROBOT.yaml's drive is opened, on a simulated bus."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.sim import serving_port

from tests.machines.powered_arm import servos_of
from wall_edge.config import RobotConfig
from wall_edge.errors import BusError, DriveError
from wall_edge.runtime.daemon.release import release_arm
from wall_edge.runtime.servo.drives import open_drives, same_terminals
from wall_edge.sim.tabletop import arm


@pytest.mark.parametrize(("slack_rad", "powered"), [(0.05, True), (0.01, False)])
def test_a_joint_may_have_sagged_as_far_as_robot_yaml_says(
    robot: RobotConfig, slack_rad: float, powered: bool
) -> None:
    """Lost once, when the opening of drives moved: an arm a little beyond its limits was refused."""
    positions = arm.REST.copy()
    positions[1] = robot.joints[1].upper + 0.03
    config = replace(
        robot,
        control=replace(robot.control, start_slack_rad=slack_rad, feedback_timeout_ms=4000),
        drives={"arm": replace(robot.drives["arm"], timeout_ms=1000)},
    )
    bus = servos_of(config, positions)
    with serving_port(bus) as port, open_drives(config, {"arm": port.path}) as drive:
        drive.connect()
        drive.check()
        if powered:
            drive.enable()
        else:
            with pytest.raises(DriveError, match="move it inside by hand"):
                drive.enable()
    assert [bool(servo.get("torque_enable")) for servo in bus.servos.values()] == [powered] * len(positions)


def two_buses(robot: RobotConfig) -> RobotConfig:
    """The arm with its last three joints on a bus of their own."""
    settings = replace(robot.drives["arm"], timeout_ms=1000)
    joints = tuple(replace(j, drive="near" if i < 3 else "far") for i, j in enumerate(robot.joints))
    control = replace(robot.control, feedback_timeout_ms=4000)
    return replace(robot, control=control, drives={"near": settings, "far": settings}, joints=joints)


def half(config: RobotConfig, drive: str) -> RobotConfig:
    """The robot that one drive of it would be."""
    control = replace(config.control, rest=(0.0,) * 3)
    drives = {drive: config.drives[drive]}
    return replace(config, control=control, drives=drives, joints=config.joints_of(drive))


def test_joints_on_two_buses_are_one_vector(robot: RobotConfig) -> None:
    config = two_buses(robot)
    there = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    near, far = servos_of(half(config, "near"), there[:3]), servos_of(half(config, "far"), there[3:])
    with (
        serving_port(near) as left,
        serving_port(far) as right,
        open_drives(config, {"near": left.path, "far": right.path}) as drives,
    ):
        drives.enable()
        feedback = drives.cycle(Setpoints.hold(there), time.monotonic_ns() + 10**10)
        drives.disable()
    np.testing.assert_allclose(feedback.position, there, atol=2e-3)


def test_a_port_that_is_not_there_keeps_nobody_from_letting_go_on_the_other(robot: RobotConfig) -> None:
    config = two_buses(robot)
    far = servos_of(half(config, "far"), [0.4, 0.5, 0.6])
    for servo in far.servos.values():
        servo.set("torque_enable", 1)
    with serving_port(far) as port:
        places = {"near": "/nowhere/tty", "far": port.path}
        assert "/nowhere/tty does not exist" in release_arm(config, places, patience_s=0)
        with pytest.raises(BusError, match="/nowhere/tty does not exist"):
            open_drives(config, places).connect()
    assert [servo.get("torque_enable") for servo in far.servos.values()] == [0, 0, 0]


def test_a_terminal_is_the_same_until_its_motors_have_ended(robot: RobotConfig) -> None:
    """Its number goes to whoever asks next: who had lost its bus opened another's by that name."""
    control = replace(robot.control, feedback_timeout_ms=4000)
    drives = {"arm": replace(robot.drives["arm"], timeout_ms=1000)}
    config = replace(robot, control=control, drives=drives)
    bus = servos_of(config)
    with serving_port(bus) as port:
        places = {"arm": port.path, "elsewhere": "@a-socket"}
        require = same_terminals(places)
        with open_drives(config, {"arm": port.path}) as drive:
            drive.enable()
        require()
    with pytest.raises(BusError, match=rf"simulated bus at {port.path} is gone; start the simulation again"):
        require()
    with pytest.raises(BusError, match="is gone"):
        same_terminals({"arm": "/dev/pts/999999999"})()


def test_a_terminal_that_got_the_name_of_another_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"/dev/pts/7": 10}
    monkeypatch.setattr("wall_edge.runtime.servo.drives._ctime_ns", made.get)
    require = same_terminals({"arm": "/dev/pts/7"})
    require()
    made["/dev/pts/7"] = 20
    with pytest.raises(BusError, match="is gone"):
        require()


def test_torque_goes_off_on_no_terminal_of_others(
    robot: RobotConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10, 20])
    monkeypatch.setattr("wall_edge.runtime.servo.drives._ctime_ns", lambda _: next(times, 20))
    with serving_port(bus := servos_of(robot)) as port:
        for servo in bus.servos.values():
            servo.set("torque_enable", 1)
        assert "is gone" in release_arm(robot, {"arm": port.path}, patience_s=0.3)
    assert all(servo.get("torque_enable") for servo in bus.servos.values())
