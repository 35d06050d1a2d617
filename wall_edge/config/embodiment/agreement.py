"""Whether the sections of ROBOT.yaml that speak of joints, poses and sinks speak of the same ones."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from wall_edge_bridge.drives import Joint

from wall_edge.config.embodiment.entries import (
    Entry,
    JointEntry,
    PositionEntry,
    RotationEntry,
    SinkConfig,
    SinkEntry,
)
from wall_edge.config.kinematics import KinematicsConfig
from wall_edge.config.workspace import WorkspaceConfig
from wall_edge.config_loader import Invalid


def check_kinematics(
    kinematics: KinematicsConfig | None, workspace: WorkspaceConfig | None, joints: Sequence[Joint]
) -> None:
    """The joints of ``kinematics`` are the robot's, the poses of ``workspace`` those of ``kinematics``."""
    if kinematics is not None:
        _check_urdf_joints(kinematics, [joint.name for joint in joints])
    if workspace is None:
        return
    for name in workspace.poses:
        _require_pose(f"workspace.poses.{name}", name, kinematics)
    if workspace.tip_distance_m is not None and (kinematics is None or len(kinematics.poses) < 2):
        expected = "none, or two poses in kinematics.poses to keep apart"
        raise Invalid("workspace.tip_distance_m", workspace.tip_distance_m, expected=expected)


def check_entries(
    key: str,
    entries: Mapping[str, Entry],
    joints: Sequence[Joint],
    kinematics: KinematicsConfig | None,
    sinks: Mapping[str, SinkConfig],
) -> None:
    """Entries of an ``embodiment``, which stand under ``key``, are of what the robot has."""
    for name, entry in entries.items():
        where = f"{key}.{name}"
        if isinstance(entry, JointEntry):
            for joint in entry.joints:
                _require(f"{where}.joint", joint, [j.name for j in joints], "joints")
            _check_range(where, entry, joints)
        elif isinstance(entry, PositionEntry | RotationEntry):
            _require_pose(f"{where}.pose", entry.pose, kinematics)
        elif isinstance(entry, SinkEntry):
            fix = f"add 'sinks: {{{entry.sink}: {{}}}}' to ROBOT.yaml, or hold it (kind: held)"
            _require(f"{where}.sink", entry.sink, list(sinks), "sinks", fix)


def _check_urdf_joints(kinematics: KinematicsConfig, names: Collection[str]) -> None:
    taken: dict[str, str] = {}
    for name, urdf in kinematics.joints.items():
        _require(f"kinematics.joints.{name}", name, names, "joints")
        if urdf.joint in taken:
            key, expected = f"kinematics.joints.{name}.joint", f"another than that of {taken[urdf.joint]}"
            raise Invalid(key, urdf.joint, expected=expected)
        taken[urdf.joint] = name


def _check_range(where: str, entry: JointEntry, joints: Sequence[Joint]) -> None:
    """A range that the joint's limits do not even touch is another joint's, or in other units."""
    if entry.range is None:
        return
    joint = next(joint for joint in joints if joint.name == entry.joints[0])
    if min(entry.range) >= joint.upper or max(entry.range) <= joint.lower:
        expected = f"positions within the limits of {joint.name} ({joint.lower:g} to {joint.upper:g} rad)"
        raise Invalid(f"{where}.range", list(entry.range), expected=expected)


def _require_pose(key: str, pose: str, kinematics: KinematicsConfig | None) -> None:
    fix = f"say under kinematics which links {pose} is of: urdf, and poses.{pose} with base, tip and frame"
    _require(key, pose, [] if kinematics is None else list(kinematics.poses), "kinematics.poses", fix)


def _require(key: str, name: str, choices: Collection[str], what: str, fix: str = "") -> None:
    if name not in choices:
        close = difflib.get_close_matches(name, choices, n=1)
        expected = f"one of {what}: {', '.join(choices) or 'there are none'}"
        raise Invalid(key, name, expected=expected, fix=f"did you mean {close[0]!r}?" if close else fix)
