"""A world by its name, the robot that lives in it, and the two that there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wall_edge.config import CameraConfig, RobotConfig, load_robot
from wall_edge.errors import ConfigError
from wall_edge.sim.two_handed import arm, expert
from wall_edge.sim.two_handed.hands import Hands
from wall_edge.sim.world.stages import STAGES, stage_of

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def two_handed() -> RobotConfig:
    return load_robot(EXAMPLES / "two_handed" / "robot.yaml")


def _simulating(config: RobotConfig, **changes: Any) -> RobotConfig:
    assert config.simulation is not None
    return replace(config, simulation=replace(config.simulation, **changes))


@pytest.mark.parametrize("name", STAGES)
def test_the_shipped_robot_lives_on_its_stage(name: str) -> None:
    config = load_robot(EXAMPLES / name / "robot.yaml")
    kind = stage_of(config)
    assert kind.name == name
    assert config.simulation is not None
    stage = kind.open(config.simulation)
    episode = stage.new_episode(0)
    frames = stage.frames(kind.rest)
    for camera, frame in frames.items():
        assert frame.shape == (config.cameras[camera].height, config.cameras[camera].width, 3)
    assert stage.step(kind.rest) == "running" == episode.status
    assert episode.instruction.startswith("touch the ")
    assert episode.subgoal.rstrip(".") in episode.instruction
    assert episode.touched == 0
    assert (episode.least_tip_distance_m is None) == (name == "tabletop")


def test_another_robots_joints_are_refused(two_handed: RobotConfig) -> None:
    with pytest.raises(ConfigError, match=r"simulated joints left_shoulder_pan.*expected shoulder_pan, "):
        stage_of(_simulating(two_handed, world="tabletop"))


def test_a_camera_that_is_not_there_is_refused(two_handed: RobotConfig) -> None:
    cameras: dict[str, CameraConfig] = dict(two_handed.cameras)
    cameras["face_view"] = replace(cameras["face_view"], width=84)
    with pytest.raises(ConfigError, match="face_view of 84x84 pixels; expected face_view of 140x84, left_wr"):
        stage_of(replace(two_handed, cameras=cameras))


def test_blocks_that_lie_still_do_not_drift(two_handed: RobotConfig) -> None:
    with pytest.raises(ConfigError, match="drift_mm_s of 20 in the world two_handed; expected 0"):
        stage_of(_simulating(two_handed, drift_mm_s=20.0))


def test_a_robot_that_is_real_lives_on_no_stage() -> None:
    real: Any = SimpleNamespace(name="mine", simulation=None)
    with pytest.raises(ConfigError, match="mine is not simulated"):
        stage_of(real)


def test_the_demonstrator_succeeds_through_fourteen_joints(two_handed: RobotConfig) -> None:
    """Its pose commands become joints by the simulation's inverse kinematics; joints lag as the servos do."""
    assert two_handed.simulation is not None
    stage: Any = stage_of(two_handed).open(two_handed.simulation)
    q = arm.REST.copy()
    for number in range(5):
        episode = stage.new_episode(number)
        while episode.status == "running":
            hands = Hands.of(arm.forward(q)[None])
            active = np.array([episode.task.touch(episode.touched).hand])
            wanted = arm.inverse(expert.command(hands, episode.target_xy[None], active).slots())[0]
            step = np.clip(expert.SERVO_GAIN * (wanted - q), -4.0 / 30, 4.0 / 30)
            q = q + step
            stage.step(q)
        assert episode.status == "success"
