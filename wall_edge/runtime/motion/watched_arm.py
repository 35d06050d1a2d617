"""One arm as the workspace's watch has it: its forward kinematics in plain numbers, and its bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from wall_edge.body.frames import Frame
from wall_edge.body.model import PoseChain
from wall_edge.config import Bounds, PoseBounds
from wall_edge.kinematics.scalar import Point, ScalarChain
from wall_edge.runtime.motion.braking import JointMotion


class Breach(NamedTuple):
    """Who is outside of what: parts of a message."""

    who: str
    value: str
    expected: str
    fix: str = "see what the policy asks for; widen workspace only where the arm has the room"


class WatchedArm:
    """``weights`` [dof]: how far 1 rad (m of a slider) of each joint can move any point of the arm [m].

    ``frame`` is that of the chain's base link in the axes of ``bounds``, in which all points are.
    """

    def __init__(self, dof: int, pose: PoseChain, frame: Frame, bounds: PoseBounds) -> None:
        self.name, self.bounds = pose.name, bounds
        steps = pose.chain.steps.copy()
        steps[0, :3], steps[0, 3] = steps[0, :3] @ frame.rotation.T, frame.move(steps[0, 3])
        self._chain = ScalarChain(replace(pose.chain, steps=steps))
        self._chain_joints = pose.chain.joints
        columns, scale, offset = pose.columns.tolist(), pose.scale.tolist(), pose.offset.tolist()
        self._joints = list(zip(columns, scale, offset, strict=True))
        self.weights = [0.0] * dof
        for column, factor, reach in zip(columns, scale, _reaches(pose), strict=True):
            self.weights[column] = abs(factor) * reach
        box = bounds.box
        self._ends = None if box is None else (*box.x, *box.y, *box.z)
        self._table_z, self.max_speed = bounds.table_z, bounds.max_speed

    def points(self, position: Sequence[float]) -> list[Point]:
        """Of the joints, then of the tip [m], for joints [dof, rad]."""
        return self._chain.origins([position[i] * scale + offset for i, scale, offset in self._joints])

    def clearance(self, position: Sequence[float]) -> tuple[float, Point]:
        """How far inside its box and above its table the arm is [m], and its tip."""
        points = self.points(position)
        x, y, z = tip = points[-1]
        clear = math.inf if x == x else -math.inf  # NaN is nowhere inside
        if self._ends is not None:
            x0, x1, y0, y1, z0, z1 = self._ends
            clear = min(clear, x - x0, x1 - x, y - y0, y1 - y, z - z0, z1 - z)
        if self._table_z is not None:
            # The first joint stands where the base does, whatever the arm does.
            clear = min(clear, min([point[2] for point in points[1:]]) - self._table_z)
        return clear, tip

    def breach(self, position: Sequence[float]) -> Breach | None:
        """What the arm is outside of, if it is."""
        points = self.points(position)
        for axis, value in zip("xyz", points[-1], strict=True):
            box = self.bounds.box
            low, high = (-math.inf, math.inf) if box is None else getattr(box, axis)
            if not low <= value <= high:
                expected = f"{low:g} to {high:g} m (workspace.poses.{self.name}.box)"
                return Breach(f"pose {self.name}", f"{axis} {value:.4f} m", expected)
        if self._table_z is not None:
            lowest = min(range(1, len(points)), key=lambda i: points[i][2])
            if not points[lowest][2] >= self._table_z:
                part = "the tip" if lowest == len(points) - 1 else f"joint {self._chain_joints[lowest]}"
                expected = f"at least {self._table_z:g} m (workspace.poses.{self.name}.table_z)"
                return Breach(f"{part} of pose {self.name}", f"z {points[lowest][2]:.4f} m", expected)
        return None

    def growth(self, joints: Sequence[JointMotion], bounds: Sequence[Bounds]) -> float:
        """By how much the tip may become faster before joints that accelerate can brake [m/s], at most."""
        more = 0.0
        for i, _, _ in self._joints:
            _, velocity, acceleration = joints[i]
            if acceleration * velocity > 0:
                more += self.weights[i] * acceleration * acceleration / (2 * bounds[i].jerk)
        return more

    def peak_speed(
        self, joints: Sequence[JointMotion], bounds: Sequence[Bounds], tip: Point, dt: float
    ) -> float:
        """Of the ``tip`` [m/s] where all joints are as fast as they become when they brake from now on."""
        ahead = [position for position, _, _ in joints]
        for i, _, _ in self._joints:
            position, velocity, acceleration = joints[i]
            if acceleration * velocity > 0:
                velocity += acceleration * abs(acceleration) / (2 * bounds[i].jerk)
            ahead[i] = position + velocity * dt
        return math.dist(tip, self.points(ahead)[-1]) / dt

    def too_fast(self, speed: float) -> Breach:
        """Of a tip that moves at ``speed`` [m/s]."""
        expected = f"at most {self.max_speed:g} m/s (workspace.poses.{self.name}.max_speed)"
        return Breach(f"pose {self.name}", f"{speed:.4f} m/s", expected)


def _reaches(pose: PoseChain) -> list[float]:
    """[n] how far at most any point of the arm moves when one joint does by 1 rad, or 1 m of a slider [m]."""
    chain = pose.chain
    lengths = [float(np.linalg.norm(step[3])) for step in (*chain.steps[1:], chain.last)]
    slides = np.maximum(np.abs(chain.lower), np.abs(chain.upper))
    reaches, beyond = [], 0.0
    for i in reversed(range(len(chain.joints))):
        beyond += lengths[i]
        reaches.append(1.0 if chain.sliding[i] else beyond)
        beyond += float(slides[i]) if chain.sliding[i] else 0.0
    return reaches[::-1]
