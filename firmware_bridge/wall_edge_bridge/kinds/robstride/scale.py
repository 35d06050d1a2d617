"""Between the joints' radians and the 16 bits of RobStride's frames, of all joints of a drive at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wall_edge.errors import DriveError
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds.robstride.codec import FULL, WORDS, Type, identifier, quantize
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint
from wall_edge_bridge.transport import Frame

_NO_NUMBER = "feed-forward that is no number"


class RobStrideScale:
    """Arrays are [dof]; motor angles are the motors' own [rad]."""

    def __init__(self, joints: Sequence[RobStrideJoint]) -> None:
        self._joints = tuple(joints)
        ranges = [joint.ranges for joint in joints]
        self._sign = np.array([float(joint.direction) for joint in joints])
        self._zero = np.array([joint.zero_rad for joint in joints])
        # [3, dof]: position, velocity, effort
        self._range = np.array([[r.position, r.velocity, r.effort] for r in ranges]).T
        self._per_unit = FULL / (2 * self._range)
        self._gains = [
            (quantize(joint.kp, 0.0, r.kp), quantize(joint.kd, 0.0, r.kd))
            for joint, r in zip(joints, ranges, strict=True)
        ]
        self._effort = np.array(
            [joint.max_effort or r.effort for joint, r in zip(joints, ranges, strict=True)]
        )
        self._from_raw = [
            [(joint.direction * 2 * r / FULL, joint.direction * (-r - offset)) for r, offset in rows]
            for joint, rows in (
                (joint, ((r.position, joint.zero_rad), (r.velocity, 0.0), (r.effort, 0.0)))
                for joint, r in zip(joints, ranges, strict=True)
            )
        ]
        self.resolution = 2 * self._range[0] / FULL
        """[dof] rad"""

    def motor_angle(self, position: Floats) -> Floats:
        """Of joint angles [dof] rad."""
        angle: Floats = self._sign * position + self._zero
        return angle

    def joint_angle(self, index: int, angle: float) -> float:
        """Of a motor's own angle [rad]."""
        joint = self._joints[index]
        return joint.direction * (angle - joint.zero_rad)

    def controls(self, setpoints: Setpoints, position: Floats) -> list[Frame]:
        """A frame a joint. ``position`` [dof] rad is what is allowed of the setpoints'. Raises DriveError."""
        effort = np.minimum(np.maximum(setpoints.effort, -self._effort), self._effort)
        motor = np.stack(
            (self._sign * position + self._zero, self._sign * setpoints.velocity, self._sign * effort)
        )
        if not np.isfinite(motor).all():
            bad = self._joints[int(np.argmin(np.isfinite(motor).all(axis=0)))]
            raise DriveError(f"joint {bad.name}: {_NO_NUMBER}", fix="mend what sends it; nothing was sent")
        raw = np.clip((motor + self._range) * self._per_unit, 0, FULL).astype(np.int64)
        return self._frames(*raw.tolist())

    def holds(self, raw_positions: Sequence[int]) -> list[Frame]:
        """A frame a joint that holds where feedback said that it stands, to the bit; no feed-forward."""
        middle = [FULL // 2] * len(self._joints)
        return self._frames(raw_positions, middle, middle)

    def _frames(
        self, positions: Sequence[int], velocities: Sequence[int], efforts: Sequence[int]
    ) -> list[Frame]:
        return [
            Frame(identifier(Type.CONTROL, effort, joint.id), WORDS.pack(position, velocity, kp, kd), True)
            for joint, (kp, kd), position, velocity, effort in zip(
                self._joints, self._gains, positions, velocities, efforts, strict=True
            )
        ]

    def values(self, index: int, position: int, velocity: int, effort: int) -> tuple[float, float, float]:
        """rad, rad/s, Nm of a joint, of a feedback's three words."""
        (p, p0), (v, v0), (e, e0) = self._from_raw[index]
        return position * p + p0, velocity * v + v0, effort * e + e0

    def sign(self, index: int) -> int:
        """Of the joint's sense against its motor's."""
        return self._joints[index].direction
