"""Both arms' kinematics in closed form, apart from the robot's own: what the simulation holds to be true.

The geometry is that of examples/two_handed/robot.urdf. At zero the upper arm stands up, the forearm points
forward and the tool down; lift, elbow and wrist_pitch turn about parallel axes, and the three wrist axes meet
in a point. So a tip's rotation is ``Rz(pan)·Ry(lift + elbow + wrist_pitch)·Rx(wrist_roll)·Rz(wrist_yaw)``,
whose only singularity, wrist_roll = ±π/2, has the tool horizontal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.kinematics.rotations import to_matrix
from wall_edge.sim.two_handed import expert
from wall_edge.sim.two_handed.hands import BASES, FOREARM, HANDS, OPEN, SHOULDER_HEIGHT, UPPER_ARM, Hands

NAMES = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow",
    "wrist_pitch",
    "wrist_roll",
    "wrist_yaw",
    "gripper",
)
JOINTS = tuple(f"{hand}_{name}" for hand in HANDS for name in NAMES)
GRIPPER_OPEN = 0.8
"""rad: the gripper's joint goes from 0 to this as its slot goes from 0 to 1; its limits are wider."""

LOWER: Floats = np.tile([-2.4, -1.5, -1.5, -1.9, -1.2, -2.8, -0.05], 2)
UPPER: Floats = np.tile([2.4, 1.6, 1.4, 1.9, 1.2, 2.8, 0.85], 2)


def forward(q: npt.ArrayLike) -> Floats:
    """Both hands' slots [..., 14] for joints ``q`` [..., 14] (rad)."""
    joints = np.asarray(q, dtype=np.float64)
    pan, lift, elbow, pitch, roll, yaw, gripper = np.moveaxis(joints.reshape(*joints.shape[:-1], 2, 7), -1, 0)
    out = UPPER_ARM * np.sin(lift) + FOREARM * np.cos(lift + elbow)
    up = SHOULDER_HEIGHT + UPPER_ARM * np.cos(lift) - FOREARM * np.sin(lift + elbow)
    zero = np.zeros_like(pan)
    # Ry(pitch)·Rx(roll) is what rpy = (roll, pitch, 0) says.
    tilt = to_matrix("rpy", np.stack((roll, lift + elbow + pitch, zero), axis=-1))
    rotation = _about_z(pan) @ tilt @ _about_z(yaw)
    wrist = np.stack((out * np.cos(pan), out * np.sin(pan), up), axis=-1) + BASES
    return Hands.at_wrists(wrist, rotation, gripper / GRIPPER_OPEN).slots()


def inverse(slots: npt.ArrayLike) -> Floats:
    """Joints [..., 14] (rad) that put both hands at ``slots`` [..., 14], elbows up.

    What is out of reach becomes the nearest point in that direction; joints are clipped to their limits.
    """
    hands = Hands.of(slots)
    x, y, z = np.moveaxis(hands.wrists() - BASES - [0.0, 0.0, SHOULDER_HEIGHT], -1, 0)
    pan, out = np.arctan2(y, x), np.hypot(x, y)
    # The margin keeps the square root of the elbow angle away from its infinite slope.
    reach = np.clip(np.hypot(out, z), abs(UPPER_ARM - FOREARM) + 1e-3, UPPER_ARM + FOREARM - 1e-3)
    bend = np.arccos((reach**2 - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM))
    lift = np.arctan2(out, z) - np.arctan2(FOREARM * np.sin(bend), UPPER_ARM + FOREARM * np.cos(bend))
    elbow = bend - np.pi / 2
    rest = _about_z(-pan) @ hands.rotation
    pitch = np.arctan2(rest[..., 0, 2], rest[..., 2, 2])
    roll = np.arcsin(np.clip(-rest[..., 1, 2], -1.0, 1.0))
    yaw = np.arctan2(rest[..., 1, 0], rest[..., 1, 1])
    joints = (pan, lift, elbow, pitch - lift - elbow, roll, yaw, hands.gripper * GRIPPER_OPEN)
    stacked = np.stack(joints, axis=-1)
    joined: Floats = stacked.reshape(*stacked.shape[:-2], 14).clip(LOWER, UPPER)
    return joined


def _about_z(angle: Floats) -> Floats:
    zero = np.zeros_like(angle)
    return to_matrix("rpy", np.stack((zero, zero, angle), axis=-1))


REST: Floats = inverse(Hands(expert.HOME, expert.upright(expert.HOME), np.full(2, OPEN)).slots())
