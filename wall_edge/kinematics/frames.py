"""Where a link's frame is, seen from the one above: homogeneous transforms ``[4, 4]`` of joints."""

from __future__ import annotations

import math

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.robot import Joint, Robot, Vector
from wall_edge.kinematics.rotations import to_matrix


def joints_between(robot: Robot, base: str, tip: str) -> list[Joint]:
    """From link ``base`` down to link ``tip``. Raises :class:`KinematicsError`."""
    for link in (base, tip):
        if link not in robot.links:
            raise KinematicsError(f"no link {link}", expected=f"one of {', '.join(robot.links)}")
    joints: list[Joint] = []
    link = tip
    while link != base:
        if link not in robot.parents:
            above = ", ".join([joint.parent for joint in joints])
            raise KinematicsError(
                f"link {base} is not above {tip}",
                expected=f"one of {above}" if above else "a tip below the root",
            )
        joints.append(robot.parents[link])
        link = joints[-1].parent
    return joints[::-1]


def origin_of(joint: Joint) -> Floats:
    """The child's frame in the parent's at position 0."""
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = to_matrix("rpy", np.array(joint.rpy)), joint.xyz
    return result


def turn_of(joint: Joint) -> Floats:
    """A rotation that turns z onto the joint's axis."""
    result = np.eye(4)
    result[:3, :3] = _z_along(joint.axis)
    return result


def _z_along(axis: Vector) -> Floats:
    if axis == (0.0, 0.0, 1.0):
        return np.eye(3)
    z = np.array(axis) / math.sqrt(sum(a * a for a in axis))
    x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], -1)


def moved(joint: Joint, position: float) -> Floats:
    """A joint's motion in a frame whose z is its axis."""
    result = np.eye(4)
    if joint.kind == "prismatic":
        result[2, 3] = position
    else:
        result[:2, :2] = [[math.cos(position), -math.sin(position)], [math.sin(position), math.cos(position)]]
    return result


def standing(joint: Joint, position: float) -> Floats:
    """The child's frame in the parent's where the joint stands at ``position``."""
    if joint.kind == "fixed":
        return origin_of(joint)
    turn = turn_of(joint)
    return np.asarray(origin_of(joint) @ turn @ moved(joint, position) @ turn.T)
