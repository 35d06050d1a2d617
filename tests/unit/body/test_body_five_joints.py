"""SO-101: five joints follow positions exactly, and orientations as far as they can."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.arms import URDF
from tests.unit.body.bodies import HORIZON, RATE_HZ, manifest_of
from tests.unit.body.two_arms import document
from wall_edge.array_types import Floats
from wall_edge.body.body import Body
from wall_edge.config.robot import robot_from_mapping
from wall_edge.kinematics.rotations import distance, exp, to_matrix

LIMITS = {"shoulder_pan": 1.9, "shoulder_lift": 1.7, "elbow_flex": 1.6, "wrist_flex": 1.6, "wrist_roll": 2.7}
READY = np.array([0.0, -0.3, 0.4, 0.8, 0.0])


def so101(**kinematics: Any) -> Body:
    joints = [
        {"name": name, "id": i + 1, "lower": -limit, "upper": limit, "max_velocity": 4.0}
        for i, (name, limit) in enumerate(LIMITS.items())
    ]
    pose = {"base": "base_link", "tip": "gripper_frame_link", "frame": "base_link"}
    section = {"urdf": str(URDF / "so101.urdf"), "poses": {"tip": pose}, "cap_ms": 1000.0, **kinematics}
    action = {
        "xyz": {"kind": "position", "pose": "tip"},
        "turn": {"kind": "rotation", "pose": "tip", "form": "rotvec"},
    }
    control = {"rate_hz": 250, "rest": READY.tolist()}
    data = document(joints=joints, kinematics=section, embodiment={"action": action}, control=control)
    config = robot_from_mapping(data, "ROBOT.yaml")
    return Body.of(config, manifest_of(config))


def motion() -> Floats:
    positions: Floats = READY + 0.3 * np.sin(np.arange(HORIZON)[:, None] / RATE_HZ * 1.5 + np.arange(5))
    return positions


def tilted(body: Body, asked: Floats, angle: float) -> Floats:
    """The same positions, with rotations that no five joints have."""
    result: Floats = asked.copy()
    turns: Floats = exp(np.array([0.0, 0.0, angle])) @ to_matrix("rotvec", asked[:, 3:])
    body._arms[0].columns.write(result, asked[:, :3], turns)
    return result


def test_its_own_poses_are_followed() -> None:
    body = so101()
    asked = body.values(motion())
    chunk = body.joints(asked, motion()[0], motion())
    assert chunk.solved == HORIZON
    np.testing.assert_allclose(chunk.positions, motion(), atol=5e-3)


def test_positions_are_exact_where_orientations_cannot_be() -> None:
    body = so101()
    asked = tilted(body, body.values(motion()), 0.1)
    chunk = body.joints(asked, motion()[0], motion())
    reached = body.values(chunk.positions)
    assert chunk.solved == HORIZON
    assert np.linalg.norm(reached[:, :3] - asked[:, :3], axis=1).max() < 1e-4
    turned = distance(to_matrix("rotvec", reached[:, 3:]), to_matrix("rotvec", asked[:, 3:]))
    assert 0.01 < turned.max() < 0.11  # the tilt, and not some other way to the same position


def test_orientation_may_count_for_nothing() -> None:
    body = so101(orientation_m=0.0)
    asked = tilted(body, body.values(motion()), 2.0)
    chunk = body.joints(asked, motion()[0], motion())
    assert chunk.solved == HORIZON
    np.testing.assert_allclose(body.values(chunk.positions)[:, :3], asked[:, :3], atol=1e-4)
