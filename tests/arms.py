"""Public arms, by their kinematics alone: tests/data/urdf says where the numbers are from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from wall_edge.kinematics.chain import Chain, chain_between
from wall_edge.kinematics.robot import Robot
from wall_edge.kinematics.urdf import read_urdf

URDF = Path(__file__).parent / "data" / "urdf"
ENDS = {
    "so101": ("base_link", "gripper_frame_link"),
    "piper": ("base_link", "gripper_base"),
    "ur5": ("base_link", "ee_link"),
    "panda": ("panda_link0", "panda_link8"),
}
"""Base and tip link; 5, 6, 6 and 7 joints."""


@cache
def arm(name: str) -> Robot:
    return read_urdf(URDF / f"{name}.urdf")


@cache
def arm_chain(name: str) -> Chain:
    return chain_between(arm(name), *ENDS[name])
