"""Checkpoints in upstream's layout with several robots' statistics, and robots that are described for them.

The numbers are facts of github.com/X-Square-Robot/wall-x (``wall_x/utils/constant.py``, September 2025), and
so is what its ``Normalizer`` puts in for groups that a robot does not have: min 0, delta 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from wall_edge_export.reference.random_checkpoint import write_random_checkpoint

from wall_edge.bundle import Pose
from wall_edge.config import EmbodimentConfig, ModelConfig, RobotConfig, SinkConfig
from wall_edge.config.kinematics import KinematicsConfig
from wall_edge.config_loader import from_mapping

Ranges = Mapping[str, tuple[list[float], list[float]]]
"""Min and delta by group."""
X2_NORMAL: Ranges = {
    "follow_left_ee_cartesian_pos": ([-0.036, -0.3241, -0.1245], [0.4389, 0.557, 0.479]),
    "follow_left_ee_rotation": ([-1.2373, -0.1929, -1.5182], [2.2009, 1.5669, 2.0936]),
    "follow_left_gripper": ([-0.1196], [4.5226]),
    "follow_right_ee_cartesian_pos": ([-0.0326, -0.2273, -0.1377], [0.4574, 0.5704, 0.4743]),
    "follow_right_ee_rotation": ([-1.2201, -0.2611, -0.7427], [2.6623, 1.6622, 2.4186]),
    "follow_right_gripper": ([-0.1208], [4.5261]),
    "height": ([-0.0001], [0.5051]),
    "head_actions": ([-1.5, -1.4167], [2.5, 1.8879]),
    "base_velocity": ([-0.0359, -0.084, -0.0162], [0.1539, 0.1848, 0.0322]),
}
DOBBE: Ranges = {
    "follow_right_ee_cartesian_pos": ([-0.6107, -0.3272, -0.4282], [1.2629, 1.5297, 0.8349]),
    "follow_right_ee_rotation": ([-1.7378, -1.4597, -1.8712], [2.7031, 2.8182, 3.5921]),
    "follow_right_gripper": ([0.0], [0.9983]),
}
AGIBOT: Ranges = {
    "follow_left_ee_cartesian_pos": ([0.4954, 0.0166, 0.1729], [0.3336, 0.5123, 0.9189]),
    "follow_left_ee_rotation": ([-3.1064, -1.2629, -3.1238], [6.2127, 2.5923, 6.2496]),
    "follow_left_gripper": ([34.6222], [86.1921]),
    "follow_right_ee_cartesian_pos": ([0.4615, -0.5975, 0.1638], [0.3823, 0.5577, 0.8873]),
    "follow_right_ee_rotation": ([-3.0891, -1.0739, -2.5091], [6.1707, 2.3074, 3.8533]),
    "follow_right_gripper": ([34.6222], [85.7635]),
    "height": ([0.0], [0.4535]),
    "head_actions": ([-0.1746, 0.0523], [0.2444, 0.4713]),
}
ROBOTS: Mapping[str, Ranges] = {"x2_normal": X2_NORMAL, "DobbE": DOBBE, "agibotworld_alpha": AGIBOT}
VIEWS = ("face_view", "left_wrist_view", "right_wrist_view")


def arm_entries(
    side: str, form: str = "rpy", rotation: str = "ee_rotation", mark: str = ""
) -> dict[str, Any]:
    """One hand of upstream's: its pose and its gripper, a motor angle of its own."""
    gripper = {"unit": "own", "values": [-0.12, 4.4], "range": [-0.1, 1.7]}
    return {
        f"follow_{side}_ee_cartesian_pos{mark}": {"kind": "position", "pose": side},
        f"follow_{side}_{rotation}{mark}": {"kind": "rotation", "pose": side, "form": form},
        f"follow_{side}_gripper": {"kind": "joint", "joint": f"{side}_gripper", **gripper},
    }


def rest_entries() -> dict[str, Any]:
    return {
        "head_actions": {"kind": "joint", "joint": ["head_pan", "head_tilt"], "unit": "rad"},
        "height": {"kind": "sink", "sink": "lift", "state": [0.2]},
        "car_pose": {"kind": "held"},
    }


def entries_20() -> dict[str, Any]:
    return {**arm_entries("left"), **arm_entries("right"), **rest_entries()}


def filled(groups: Mapping[str, int], ranges: Ranges) -> tuple[torch.Tensor, torch.Tensor]:
    """Min and delta of all slots, as upstream's ``Normalizer`` fills them."""
    low: list[float] = []
    delta: list[float] = []
    for group, size in groups.items():
        low += ranges[group][0] if group in ranges else [0.0] * size
        delta += ranges[group][1] if group in ranges else [1.0] * size
    return torch.tensor(low), torch.tensor(delta)


def write_upstream(
    folder: Path, shape: str = "tiny", robots: Mapping[str, Ranges] = ROBOTS, name: str | None = None
) -> Path:
    """A checkpoint whose layout is in ``config.yml`` alone and whose statistics are several robots'."""
    write_random_checkpoint(shape, folder, dtype="fp32")
    config = json.loads((folder / "config.json").read_text())
    training = {key: config.pop(key) for key in ("dof_config", "agent_pos_config")}
    del config["wall_edge"]["robot"]
    (folder / "config.json").write_text(json.dumps(config))
    more = {} if name is None else {"customized_robot_config": {"name": name}}
    data = {"resolution": dict.fromkeys((*VIEWS, "multi_modal"), 256), "action_horizon": 32}
    (folder / "config.yml").write_text(yaml.safe_dump({**training, **more, "data": data}, sort_keys=False))
    (path,) = folder.glob("*.safetensors")
    tensors = {key: value for key, value in load_file(path).items() if "normalizer" not in key}
    for robot, ranges in robots.items():
        for kind, key in (("action", "dof_config"), ("propri", "agent_pos_config")):
            values = filled(training[key], ranges)
            for statistic, value in zip(("min", "delta"), values, strict=True):
                tensors[f"action_preprocessor.normalizer_{kind}.{statistic}.{robot}"] = value
    save_file(tensors, folder / "model.safetensors")
    for old in (path, folder / "model.safetensors.index.json"):
        old.unlink()
    return folder


def edit_statistics(folder: Path, name: str, slot: int, value: float) -> None:
    """Change one number, say of ``action.delta.x2_normal``."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors[f"action_preprocessor.normalizer_{name}"][slot] = value
    save_file(tensors, path)


def two_handed(
    robot: RobotConfig,
    action: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    statistics: str | None = "x2_normal",
    **model: Any,
) -> RobotConfig:
    """Two grippers, a head and a lift, with the tabletop robot's drive, described for upstream's 20 slots."""
    names = ("left_gripper", "right_gripper", "head_pan", "head_tilt")
    joints = tuple(
        replace(robot.joints[i % 2], name=name, id=i + 1, lower=-1.8, upper=1.8)
        for i, name in enumerate(names)
    )
    camera = next(iter(robot.cameras.values()))
    section = {"action": dict(entries_20() if action is None else action)}
    if state is not None:
        section["state"] = dict(state)
    poses = {side: Pose("torso", f"{side}_tip", f"{side}_base") for side in ("left", "right")}
    return replace(
        robot,
        joints=joints,
        control=replace(robot.control, rest=(0.0,) * len(names)),
        cameras=dict.fromkeys(VIEWS, camera),
        kinematics=KinematicsConfig(Path("two_handed.urdf"), poses),
        embodiment=from_mapping(EmbodimentConfig, section, "ROBOT.yaml"),
        sinks={"lift": SinkConfig()},
        model=ModelConfig(robot=statistics, **model),
    )
