"""A URDF beside LeRobot's calibration: names compared, speeds taken, and what must be measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wall_edge.kinematics.robot import Robot


@dataclass(frozen=True)
class Geometry:
    """``kinematics`` of ROBOT.yaml with gaps, the URDF's speeds, and what a person should know."""

    section: dict[str, Any]
    speeds: dict[str, float]
    """rad/s, by joint."""
    notes: list[str]


def compared(names: Sequence[str], robot: Robot, urdf: str) -> Geometry:
    """``names``: of ROBOT.yaml's joints. ``urdf``: the path that ROBOT.yaml is to say.

    LeRobot's 0 is the middle of what a person swept, and a motor's sense is how it was built in: neither is
    the URDF's, so sense and zero stay gaps even where names are the same.
    """
    movable = {joint.name: joint for joint in robot.joints.values() if joint.kind != "fixed"}
    joints = {
        name: {"joint": name if name in movable else None, "scale": None, "offset": None} for name in names
    }
    speeds = {
        name: movable[name].limits.velocity
        for name in names
        if name in movable
        and movable[name].kind != "prismatic"
        and 0 < movable[name].limits.velocity < math.inf
    }
    notes = ["LeRobot's zero is the middle of the swept range, not the URDF's: measure each scale and offset"]
    if unlike := [name for name in names if name not in movable]:
        notes.append(f"no joint of the URDF is called {', '.join(unlike)}")
    if idle := [j.name for j in movable.values() if j.name not in names and j.mimic is None]:
        notes.append(f"joints of the URDF that no motor is called as: {', '.join(idle)}")
    if speeds:
        notes.append("max_velocity is the URDF's, which may be more than the motors can")
    return Geometry({"urdf": urdf, "poses": None, "joints": joints}, speeds, notes)
