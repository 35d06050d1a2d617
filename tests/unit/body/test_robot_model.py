"""A URDF in terms of ROBOT.yaml's joints: chains, senses, zeros, frames, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.body.two_arms import URDF, document, kinematics, robot
from wall_edge.body.frames import fixed_frame
from wall_edge.body.model import RobotModel
from wall_edge.config.robot import robot_from_mapping
from wall_edge.errors import WallEdgeError
from wall_edge.kinematics.chain import chain_between
from wall_edge.kinematics.rotations import distance
from wall_edge.kinematics.urdf import read_urdf

POSE = {"base": "right_base", "tip": "right_tip", "frame": "right_base"}


def model(**changes: Any) -> RobotModel:
    return RobotModel.of(robot(kinematics=kinematics(**changes)))


class TestChains:
    def test_columns_are_those_of_the_joint_vector(self) -> None:
        chains = model().chains
        assert chains["left"].columns.tolist() == [0, 1, 2, 3, 4, 5]
        assert chains["right"].columns.tolist() == [7, 8, 9, 10, 11, 12]

    def test_a_pose_is_in_the_axes_of_its_frame(self) -> None:
        joints = np.random.default_rng(1).uniform(0, 1, (5, 3, 14))
        positions, rotations = model().chains["right"].forward(joints)
        q = joints[..., 7:13].reshape(-1, 6)
        in_base, turned = chain_between(read_urdf(URDF), "right_base", "right_tip").forward(q)
        np.testing.assert_allclose(positions.reshape(-1, 3), in_base + np.array([0, -0.17, 0.01]), atol=1e-12)
        assert distance(rotations.reshape(-1, 3, 3), turned).max() < 1e-12
        single, _ = model().chains["right"].forward(joints[2, 1])
        np.testing.assert_allclose(single, positions[2, 1], atol=1e-15)

    def test_a_joint_that_counts_the_other_way_from_another_zero(self) -> None:
        data = document(kinematics=kinematics(joints={
            "left_lift": {"joint": "left_lift", "scale": -1.0, "offset": 0.25}}))  # fmt: skip
        data["joints"][1].update(lower=-1.0, upper=1.5)
        mapped = RobotModel.of(robot_from_mapping(data, "ROBOT.yaml"))
        joints, same = np.full(14, 0.1), np.full(14, 0.1)
        joints[1] = 0.25 - 0.1
        np.testing.assert_allclose(mapped.chains["left"].forward(joints)[0],
                                   model().chains["left"].forward(same)[0], atol=1e-12)  # fmt: skip
        chain = mapped.chains["left"]
        np.testing.assert_allclose(chain.joint_positions(chain.chain_positions(joints)), joints[:6])
        assert (chain.chain.lower[1], chain.chain.upper[1]) == (-1.25, 1.25)
        assert mapped.urdf_positions(joints)["left_lift"] == pytest.approx(0.1)

    def test_limits_and_speeds_are_the_lower_ones(self) -> None:
        data = document()
        data["joints"][0].update(max_velocity=2.0, lower=-1.0)
        data["joints"][1].update(max_velocity=9.0)
        chain = RobotModel.of(robot_from_mapping(data, "ROBOT.yaml")).chains["left"].chain
        assert chain.velocity.tolist() == [2.0, 4.0, 4.0, 4.0, 4.0, 4.0]
        assert chain.lower[0] == -1.0

    def test_a_slider_is_in_metres(self) -> None:
        mapped = model(joints={"left_slide": {"joint": "left_slide", "scale": 0.5}})
        positions = mapped.urdf_positions(np.full((2, 14), 0.04))
        np.testing.assert_allclose(positions["left_slide"], [0.02, 0.02])
        assert set(positions) == set(read_urdf(URDF).joints) - {
            joint.name for joint in read_urdf(URDF).joints.values() if joint.kind == "fixed"
        }


class TestFrames:
    def test_between_two_links_that_are_fixed_to_each_other(self) -> None:
        urdf = read_urdf(URDF)
        frame = fixed_frame(urdf, "left_base", "right_base")
        np.testing.assert_allclose(frame.position, [0, 0.34, 0], atol=1e-15)
        tip = fixed_frame(urdf, "left_tip", "left_tool")
        np.testing.assert_allclose(tip.rotation, np.diag([-1.0, 1.0, -1.0]), atol=1e-15)
        back = fixed_frame(urdf, "left_tool", "left_tip")
        there = tip.apply(*back.apply(np.ones((2, 3)), np.eye(3)))
        np.testing.assert_allclose(there[0], np.ones((2, 3)), atol=1e-15)
        np.testing.assert_allclose(
            back.undo(*back.apply(np.ones(3), tip.rotation))[0], np.ones(3), atol=1e-15
        )
        np.testing.assert_allclose(there[1], np.eye(3), atol=1e-15)

    def test_a_link_is_itself(self) -> None:
        frame = fixed_frame(read_urdf(URDF), "left_tool", "left_tool")
        assert frame.position.tolist() == [0, 0, 0]
        assert frame.rotation.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"urdf": "/nowhere.urdf"}, "nowhere.urdf"),
        ({"poses": {"right": {**POSE, "tip": "hand"}}}, "kinematics.poses.right: no link hand"),
        ({"poses": {"right": {**POSE, "frame": "head"}}}, "kinematics.poses.right: no link head"),
        ({"poses": {"right": {**POSE, "frame": "right_upper"}}}, "moves link"),
        ({"poses": {"right": {**POSE, "base": "right_hand"}}}, "moves link right_hand"),
        ({"poses": {"right": {**POSE, "base": "left_base"}}}, "link left_base is not above right_tip"),
        ({"joints": {"left_pan": {"joint": "pan"}}}, "left_pan is to move the URDF's pan, which is not in"),
        ({"joints": {"left_pan": {"joint": "left_mount"}}}, "left_mount, which does not move"),
        ({"joints": {"left_pan": {"joint": "left_lift"}}}, "left_pan and left_lift are both the URDF's"),
        ({"joints": {"left_lift": {"joint": "left_lift", "offset": 0.01}}}, "lift may move from -1.9 to 1.9"),
        ({"joints": {"left_elbow": {"joint": "left_elbow", "scale": -1}}}, "allows -2.8 to 0.2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_one_line(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(WallEdgeError, match=told) as problem:
        model(**changes)
    assert "\n" not in str(problem.value)


def test_a_joint_of_a_chain_that_no_motor_moves() -> None:
    data = document()
    data["joints"][2]["name"] = "spare"
    with pytest.raises(WallEdgeError, match=r"poses\.left: joint left_elbow between"):
        RobotModel.of(robot_from_mapping(data, "ROBOT.yaml"))


def test_limits_may_be_rounded_as_those_of_urdfs_are() -> None:
    data = document()
    data["joints"][0].update(lower=-2.6005)
    chain = RobotModel.of(robot_from_mapping(data, "ROBOT.yaml")).chains["left"].chain
    assert chain.lower[0] == -2.6


def test_without_a_urdf_there_is_no_model() -> None:
    with pytest.raises(WallEdgeError, match="no section kinematics"):
        RobotModel.of(robot(kinematics=None))
