"""The robot of the pose campaign: two arms over one table, commanded by the poses of their tips."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from wall_edge.bundle import Embodiment, FlowActions, Layout, Manifest
from wall_edge.config import RobotConfig, entry_size, expand, robot_from_mapping

URDF = Path(__file__).parents[2] / "examples" / "two_handed" / "robot.urdf"
SIDES = ("left", "right")
CHUNK_HZ, HORIZON = 30.0, 32
TIP_DISTANCE_M, MAX_SPEED = 0.06, 0.5
BOX = {"x": [0.02, 0.4], "y": [-0.35, 0.35], "z": [0.0, 0.4]}

_JOINTS = {
    "shoulder_pan": (-2.4, 2.4, 4.0),
    "shoulder_lift": (-1.5, 1.6, 4.0),
    "elbow": (-1.5, 1.4, 4.0),
    "wrist_pitch": (-1.9, 1.9, 6.0),
    "wrist_roll": (-1.2, 1.2, 6.0),
    "wrist_yaw": (-2.8, 2.8, 6.0),
    "gripper": (0.0, 0.8, 3.0),
}
READY = (0.0, -0.6, 0.9, -0.3, 0.0, 0.0, 0.3)
"""Of one arm: the tool points down."""


def pose_robot(rate_hz: float) -> RobotConfig:
    """Each arm on a bus of its own, both bounded by a box, the table, a speed and each other."""
    bounds = {"frame": "table", "box": BOX, "table_z": 0.0, "max_speed": MAX_SPEED}
    joints = [
        {
            "name": f"{side}_{name}",
            "id": number,
            "drive": side,
            "lower": lower,
            "upper": upper,
            "max_velocity": velocity,
        }
        for side in SIDES
        for number, (name, (lower, upper, velocity)) in enumerate(_JOINTS.items(), start=1)
    ]
    action: dict[str, Any] = {}
    for side in SIDES:
        action[f"{side}_position"] = {"kind": "position", "pose": side}
        action[f"{side}_rotation"] = {"kind": "rotation", "pose": side, "form": "rpy"}
        action[f"{side}_gripper"] = {"kind": "joint", "joint": f"{side}_gripper", "unit": "rad"}
    robot = {
        "name": "two hands",
        "bundle": "none",
        "control": {"rate_hz": rate_hz, "rest": list(READY) * 2, "feedback_timeout_ms": 100},
        "drives": {side: {"kind": "feetech", "port": f"/dev/{side}", "timeout_ms": 20} for side in SIDES},
        "joints": joints,
        "cameras": {},
        "kinematics": {
            "urdf": str(URDF),
            "cap_ms": 1000,  # of a clock that a busy machine makes slow: episodes would not repeat
            "poses": {
                side: {"base": f"{side}_base", "tip": f"{side}_tip", "frame": "table"} for side in SIDES
            },
        },
        "embodiment": {"action": action},
        "workspace": {"poses": dict.fromkeys(SIDES, bounds), "tip_distance_m": TIP_DISTANCE_M},
    }
    return robot_from_mapping(robot, "two hands")


def manifest_of(config: RobotConfig) -> Manifest:
    """As much of a bundle's as the way from a policy's values to joints asks for."""
    assert config.embodiment is not None
    names = []
    for group, entry in config.embodiment.action.items():
        size = entry_size(entry) or 1
        names += [group] if size == 1 else [f"{group}_{i}" for i in range(size)]
    degrees, rotations = expand(config.embodiment.action, [(name, i) for i, name in enumerate(names)])
    layout = Layout(tuple(degrees), (0.0,) * len(names), (1.0,) * len(names), None, dict(rotations))
    assert config.kinematics is not None
    embodiment = Embodiment("two hands", layout, layout, config.kinematics.poses)
    actions = FlowActions((0.0, 1.0))
    part = SimpleNamespace(embodiment=embodiment, action_rate_hz=CHUNK_HZ, horizon=HORIZON, actions=actions)
    return cast(Manifest, part)
