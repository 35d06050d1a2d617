"""The simulation's closed-form kinematics against the URDF, joint by joint as its file says."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from wall_edge.config import load_robot
from wall_edge.kinematics.rotations import exp, to_matrix
from wall_edge.sim.two_handed import arm, expert
from wall_edge.sim.two_handed.hands import BASES, HANDS, OUTWARD, Hands

EXAMPLE = Path(__file__).parents[4] / "examples" / "two_handed"
JOINTS = {joint.get("name"): joint for joint in ET.parse(EXAMPLE / "robot.urdf").iter("joint")}


def _numbers(element: ET.Element, key: str) -> np.ndarray:
    return np.array([float(part) for part in element.get(key, "").split()])


def _along_the_file(tip: str, angles: dict[str, float]) -> np.ndarray:
    """Pose [4, 4] of a link in the table's frame: every joint's origin and turn, one after the other."""
    parents = {joint.find("child").get("link"): joint for joint in JOINTS.values()}  # type: ignore[union-attr]
    pose = np.eye(4)
    while tip in parents:
        joint = parents[tip]
        origin, step = joint.find("origin"), np.eye(4)
        assert origin is not None
        assert not _numbers(origin, "rpy").any()
        step[:3, 3] = _numbers(origin, "xyz")
        if joint.get("type") == "revolute":
            axis = _numbers(joint.find("axis"), "xyz")  # type: ignore[arg-type]
            step[:3, :3] = exp(axis * angles[str(joint.get("name"))])
        pose = step @ pose
        tip = joint.find("parent").get("link")  # type: ignore[union-attr, assignment]
    return pose


def test_both_tips_are_where_the_urdf_puts_them() -> None:
    rng = np.random.default_rng(0)
    for q in rng.uniform(arm.LOWER, arm.UPPER, size=(50, 14)):
        hands = Hands.of(arm.forward(q))
        for index, hand in enumerate(HANDS):
            pose = _along_the_file(f"{hand}_tip", dict(zip(arm.JOINTS, q, strict=True)))
            np.testing.assert_allclose(hands.position[index], pose[:3, 3], atol=1e-12)
            np.testing.assert_allclose(hands.rotation[index], pose[:3, :3], atol=1e-12)
            assert hands.gripper[index] == pytest.approx(q[7 * index + 6] / arm.GRIPPER_OPEN)


def test_at_zero_the_tip_frame_is_the_tables() -> None:
    hands = Hands.of(arm.forward(np.zeros(14)))
    np.testing.assert_allclose(hands.rotation, np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-12)


def test_urdf_robot_yaml_and_simulation_have_the_same_limits_and_rest() -> None:
    config = load_robot(EXAMPLE / "robot.yaml")
    for index, joint in enumerate(config.joints):
        limit = JOINTS[joint.name].find("limit")
        assert limit is not None
        limits = float(limit.get("lower", "")), float(limit.get("upper", ""))
        assert limits == (joint.lower, joint.upper) == (arm.LOWER[index], arm.UPPER[index])
        assert joint.max_velocity <= float(limit.get("velocity", ""))
    np.testing.assert_allclose(config.control.rest, arm.REST, atol=1e-4)


def test_every_pose_that_may_come_up_is_within_limits_and_away_from_what_is_singular() -> None:
    """Trained states and all tilts; the margins are what the controller may still turn beyond them."""
    rng = np.random.default_rng(1)
    x, out, z = rng.uniform([0.07, -0.14, 0.03], [0.32, 0.27, 0.16], size=(20_000, 2, 3)).transpose(2, 0, 1)
    position = np.stack((x, out * OUTWARD, z), axis=-1)
    rpy = rng.uniform(-1, 1, size=(20_000, 2, 3)) * [0.3, 0.3, 1.0]
    slots = Hands(position, to_matrix("rpy", rpy), rng.random((20_000, 2))).slots()
    q = arm.inverse(slots)
    np.testing.assert_allclose(arm.forward(q), slots, atol=1e-9)
    fingers = np.arange(14) % 7 == 6
    assert ((q - arm.LOWER)[:, ~fingers] > 0.05).all()
    assert ((arm.UPPER - q)[:, ~fingers] > 0.05).all()
    assert np.abs(q[:, 4::7]).max() < 0.5  # wrist_roll: the wrist is singular at ±π/2
    assert (q[:, 2::7] > -1.4).all()  # elbow: stretched at -π/2
    wrists = Hands.of(slots).wrists() - BASES
    assert np.linalg.norm(wrists[..., :2], axis=-1).min() > 0.02  # shoulder: singular with the wrist above it


def test_what_is_out_of_reach_becomes_the_nearest_within_limits() -> None:
    slots = arm.forward(arm.REST)
    slots[0], slots[9] = 5.0, -5.0
    q = arm.inverse(slots)
    assert np.isfinite(q).all()
    assert ((q >= arm.LOWER) & (q <= arm.UPPER)).all()


def test_slots_and_hands_are_the_same_thing() -> None:
    rng = np.random.default_rng(2)
    slots = rng.uniform(-0.3, 0.3, size=(5, 14))
    np.testing.assert_allclose(Hands.of(slots).slots(), slots, atol=1e-12)
    padded = np.concatenate((slots, np.full((5, 6), 7.0)), axis=-1)
    np.testing.assert_allclose(Hands.of(padded).slots(), slots, atol=1e-12)
    np.testing.assert_allclose(Hands.of(slots).position[:, 0, 1] - slots[:, 1], 0.17)


def test_home_is_above_ones_own_half_and_upright() -> None:
    hands = Hands.of(arm.forward(arm.REST))
    np.testing.assert_allclose(hands.position, expert.HOME, atol=1e-12)
    np.testing.assert_allclose(hands.rotation[..., 2, 2], 1.0)
