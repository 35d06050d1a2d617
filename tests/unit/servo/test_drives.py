"""How ROBOT.yaml's drive is opened, on a simulated bus."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
from wall_edge_bridge.sim import SimulatedServoBus, serving

from wall_edge.config import DriveConfig, RobotConfig
from wall_edge.errors import DriveError
from wall_edge.runtime.servo.drives import DRIVES, open_drive
from wall_edge.runtime.servo.joints import joint_specs
from wall_edge.sim.tabletop import arm


def test_every_kind_that_robot_yaml_may_name_can_be_opened() -> None:
    assert set(get_args(get_type_hints(DriveConfig)["kind"])) == set(DRIVES)


@pytest.mark.parametrize(("slack_rad", "powered"), [(0.05, True), (0.01, False)])
def test_a_joint_may_have_sagged_as_far_as_robot_yaml_says(
    robot: RobotConfig, slack_rad: float, powered: bool
) -> None:
    """Lost once, when the opening of drives moved: an arm a little beyond its limits was refused."""
    positions = arm.REST.copy()
    positions[1] = robot.drive.joints[1].upper + 0.03
    config = replace(
        robot,
        control=replace(robot.control, start_slack_rad=slack_rad, feedback_timeout_ms=2000),
        drive=replace(robot.drive, timeout_ms=500),
    )
    bus = SimulatedServoBus(joint_specs(config), positions=positions.tolist())
    with serving(bus) as port, open_drive(config, port.path) as drive:
        drive.connect()
        drive.check()
        if powered:
            drive.enable()
        else:
            with pytest.raises(DriveError, match="move it inside by hand"):
                drive.enable()
    assert [bool(servo.get("torque_enable")) for servo in bus.servos.values()] == [powered] * len(positions)
