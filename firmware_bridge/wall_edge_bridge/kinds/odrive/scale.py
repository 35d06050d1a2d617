"""Between the joints' radians and ODrive's turns, of all joints of a drive at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wall_edge.errors import DriveError
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds.odrive.codec import INT16, Command, identifier
from wall_edge_bridge.kinds.odrive.settings import ODriveJoint
from wall_edge_bridge.transport import Frame

_INPUT = np.dtype([("turns", "<f4"), ("velocity", "<i2"), ("torque", "<i2")])


class ODriveScale:
    """Arrays are [dof]."""

    def __init__(self, joints: Sequence[ODriveJoint]) -> None:
        self._joints = tuple(joints)
        self._sign = np.array([float(joint.direction) for joint in joints])
        self._zero = np.array([joint.zero_rad for joint in joints])
        gear = np.array([joint.gear_ratio for joint in joints])
        self._turns_per_rad = gear / (2 * math.pi)
        self._velocity_steps = self._sign * self._turns_per_rad / [joint.velocity_scale for joint in joints]
        self._torque_steps = self._sign / (gear * [joint.effort_scale for joint in joints])
        self._ids = [identifier(joint.id, Command.INPUT_POS) for joint in joints]
        self._from_turns = [
            (joint.direction * 2 * math.pi / joint.gear_ratio, -joint.direction * joint.zero_rad)
            for joint in joints
        ]

    def inputs(self, setpoints: Setpoints, position: Floats) -> list[Frame]:
        """A frame a joint. ``position`` [dof] rad is what is allowed of the setpoints'. Raises DriveError."""
        turns = (self._sign * position + self._zero) * self._turns_per_rad
        velocity = setpoints.velocity * self._velocity_steps
        torque = setpoints.effort * self._torque_steps
        finite = np.isfinite(velocity) & np.isfinite(torque)
        if not finite.all():
            bad = self._joints[int(np.argmin(finite))]
            what = f"joint {bad.name}: feed-forward that is no number"
            raise DriveError(what, fix="mend what sends it; nothing was sent")
        packed = np.empty(len(turns), _INPUT)
        packed["turns"] = turns
        packed["velocity"] = np.rint(np.clip(velocity, -INT16, INT16))
        packed["torque"] = np.rint(np.clip(torque, -INT16, INT16))
        data = packed.tobytes()
        return [Frame(number, data[8 * k : 8 * k + 8]) for k, number in enumerate(self._ids)]

    def position(self, index: int, turns: float) -> float:
        """rad of a joint."""
        slope, offset = self._from_turns[index]
        return turns * slope + offset

    def velocity(self, index: int, turns: float) -> float:
        """rad/s, of turns/s."""
        return turns * self._from_turns[index][0]

    def effort(self, index: int, torque: float) -> float:
        """Nm at the joint, of Nm at the motor."""
        joint = self._joints[index]
        return joint.direction * joint.gear_ratio * torque
