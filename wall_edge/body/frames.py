"""Frames that stand still to one another: how the numbers of one are written in the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.robot import Joint, Robot
from wall_edge.kinematics.rotations import to_matrix


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame in another one: p' = rotation · p + position [m]."""

    position: Floats
    rotation: Floats

    def apply(self, positions: Floats, rotations: Floats) -> tuple[Floats, Floats]:
        """Poses ``[..., 3]``, ``[..., 3, 3]`` of this frame, in the other one."""
        return positions @ self.rotation.T + self.position, self.rotation @ rotations

    def undo(self, positions: Floats, rotations: Floats) -> tuple[Floats, Floats]:
        """Poses of the other frame, in this one."""
        return (positions - self.position) @ self.rotation, self.rotation.T @ rotations

    def move(self, positions: Floats) -> Floats:
        """Positions ``[..., 3]`` of this frame, in the other one."""
        moved: Floats = positions @ self.rotation.T + self.position
        return moved

    def back(self, positions: Floats) -> Floats:
        """Positions ``[..., 3]`` of the other frame, in this one."""
        moved: Floats = (positions - self.position) @ self.rotation
        return moved


def fixed_frame(robot: Robot, of: str, to: str) -> Frame:
    """The frame of link ``of`` in that of link ``to``.

    Raises :class:`KinematicsError` for links that are not there, or between which a joint moves.
    """
    from_above, to_above = _above(robot, of), _above(robot, to)
    shared = {joint.name for joint in from_above} & {joint.name for joint in to_above}
    ups = [joint for joint in from_above if joint.name not in shared]
    downs = [joint for joint in to_above if joint.name not in shared]
    for joint in (*ups, *downs):
        if joint.kind != "fixed":
            raise KinematicsError(
                f"joint {joint.name} moves link {of} against link {to}",
                expected="two links that are fixed to each other",
                fix="name a frame that stands still to the pose's base link",
            )
    position, rotation = _path(ups)
    to_position, to_rotation = _path(downs)
    return Frame((position - to_position) @ to_rotation, to_rotation.T @ rotation)


def _above(robot: Robot, link: str) -> list[Joint]:
    """The joints from ``link`` up to the root."""
    if link not in robot.links:
        raise KinematicsError(f"no link {link}", expected=f"one of {', '.join(robot.links)}")
    joints = []
    while link in robot.parents:
        joints.append(robot.parents[link])
        link = joints[-1].parent
    return joints


def _path(upward: list[Joint]) -> tuple[Floats, Floats]:
    """Position and rotation of the lowest link in the frame above the highest joint."""
    position, rotation = np.zeros(3), np.eye(3)
    for joint in upward:
        turn = to_matrix("rpy", np.array(joint.rpy))
        position, rotation = turn @ position + np.array(joint.xyz), turn @ rotation
    return position, rotation
