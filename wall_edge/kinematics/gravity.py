"""Torques that hold an arm against gravity: the weight of all that hangs below each joint, about its axis.

For a joint with axis a at p, and everything below it weighing m at c: a · ((p − c) × m g), and −a · m g for a
slider; g is the acceleration of what falls. Joints beside the chain (grippers, other arms) are locked where
they are told; what hangs on them counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.chain import Chain
from wall_edge.kinematics.frames import joints_between, standing, turn_of
from wall_edge.kinematics.robot import Robot
from wall_edge.kinematics.scalar import Point, ScalarChain, in_the_base

FALL = (0.0, 0.0, -9.81)
"""m/s², in the frame of the root link, whose z points upwards."""


class Gravity:
    """Of one chain of a robot.

    ``locked``: where joints stand that are none of the chain's, 0 where it says nothing. ``fall``: how things
    fall, m/s², in the frame of the robot's root link.

    Raises:
        KinematicsError: for a locked joint that the robot does not have, or that is one of the chain's.
    """

    def __init__(
        self,
        robot: Robot,
        chain: Chain,
        locked: Mapping[str, float] | None = None,
        fall: Sequence[float] = FALL,
    ) -> None:
        locked = dict(locked or {})
        for name in locked:
            if name not in robot.joints or name in chain.joints:
                expected = "joints of the robot beside the chain"
                raise KinematicsError(f"joint {name} is locked", expected=expected)
        self._chain, self._scalar = chain, ScalarChain(chain)
        self._bodies = [self._below(robot, joint, locked) for joint in range(len(chain.joints))]
        rotation = np.eye(3)
        for joint in joints_between(robot, robot.root, chain.base):
            rotation = rotation @ standing(joint, locked.get(joint.name, 0.0))[:3, :3]
        x, y, z = (float(v) for v in rotation.T @ np.asarray(fall, np.float64))
        self._fall: Point = (x, y, z)

    def torques(self, q: Sequence[float]) -> list[float]:
        """What each joint must hold, N m (a slider: N), at joint positions ``q``: n plain numbers."""
        gx, gy, gz = self._fall
        weight = sx = sy = sz = 0.0
        result = []
        frames = self._scalar.frames(q)
        for frame, (mass, centre), sliding in zip(
            reversed(frames), reversed(self._bodies), reversed(self._chain.sliding), strict=True
        ):
            x, y, z = in_the_base(frame, centre)
            weight, sx, sy, sz = weight + mass, sx + mass * x, sy + mass * y, sz + mass * z
            ax, ay, az = frame[9:]
            if sliding:
                result.append(-weight * (ax * gx + ay * gy + az * gz))
                continue
            dx, dy, dz = weight * frame[0] - sx, weight * frame[1] - sy, weight * frame[2] - sz
            result.append(ax * (dy * gz - dz * gy) + ay * (dz * gx - dx * gz) + az * (dx * gy - dy * gx))
        return result[::-1]

    def _below(self, robot: Robot, joint: int, locked: Mapping[str, float]) -> tuple[float, Point]:
        """Mass and its centre (kg; m, in the scalar frame) of all that moves with a joint as one body."""
        top = robot.joints[self._chain.joints[joint]]
        mass, moment = 0.0, np.zeros(3)
        open_links = [(top.child, turn_of(top).T)]
        while open_links:
            name, frame = open_links.pop()
            link = robot.links[name]
            mass += link.mass
            moment += link.mass * _placed(frame, link.center)
            open_links += [
                (child.child, frame @ standing(child, locked.get(child.name, 0.0)))
                for child in robot.joints.values()
                if child.parent == name and child.name not in self._chain.joints
            ]
        return mass, self._scalar.in_frame(joint, moment / mass if mass else moment)


def _placed(frame: Floats, point: Point) -> Floats:
    return np.asarray(frame[:3, :3] @ np.array(point) + frame[:3, 3])
