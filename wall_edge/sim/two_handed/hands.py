"""Where two hands are: the poses of their tips, as the policy, the cameras and the referee see them.

The table frame has x forward over the table, y to the robot's left, z up; the table top is z = 0. Each arm's
base frame has the same axes and stands at `BASES`. A tip frame is parallel to its base frame when the tool
points straight down: the tool lies along its -z.

A hand is 7 numbers: x, y, z (m) of its tip in its own arm's base frame; roll, pitch, yaw (rad; about fixed
axes, `Rz(yaw)·Ry(pitch)·Rx(roll)`); its gripper from 0 (closed) to 1 (open). Both hands, the left one first,
are the 14 live slots of the policy's 20.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.kinematics.rotations import from_matrix, to_matrix

HANDS = ("left", "right")
BASES: Floats = np.array([[0.0, 0.17, 0.0], [0.0, -0.17, 0.0]])
OUTWARD: Floats = np.array([1.0, -1.0])
"""The sign of y that leads away from the other hand."""
CLOSED, OPEN = 0.0, 1.0

# The arms' own lengths in m, as in examples/two_handed/robot.urdf.
SHOULDER_HEIGHT, UPPER_ARM, FOREARM, TOOL = 0.08, 0.28, 0.28, 0.12


@dataclass(frozen=True)
class Hands:
    """``position`` [..., 2, 3] of the tips in the table frame (m), ``rotation`` [..., 2, 3, 3], ``gripper``
    [..., 2] from 0 to 1."""

    position: Floats
    rotation: Floats
    gripper: Floats

    @staticmethod
    def of(slots: npt.ArrayLike) -> Hands:
        """From 14 slots [..., 14], or the policy's 20, of which the rest is not looked at."""
        numbers = np.asarray(slots, dtype=np.float64)[..., :14]
        split = numbers.reshape(*numbers.shape[:-1], 2, 7)
        return Hands(split[..., :3] + BASES, to_matrix("rpy", split[..., 3:6]), split[..., 6])

    @staticmethod
    def at_wrists(wrists: Floats, rotation: Floats, gripper: Floats) -> Hands:
        """From where each wrist's axes meet [..., 2, 3] (m, table frame)."""
        return Hands(wrists - TOOL * rotation[..., 2], rotation, gripper)

    def slots(self) -> Floats:
        """[..., 14]"""
        rpy = from_matrix("rpy", self.rotation)
        split = np.concatenate((self.position - BASES, rpy, self.gripper[..., None]), axis=-1)
        return split.reshape(*split.shape[:-2], 14)

    def wrists(self) -> Floats:
        """Where each wrist's axes meet [..., 2, 3] (m)."""
        return np.asarray(self.position + TOOL * self.rotation[..., 2])


def elbow(base: Floats, wrist: Floats) -> Floats:
    """Elbow [3] (m) of the arm at ``base`` [3], bent upwards, for the place of its wrist [3]."""
    shoulder = base + np.array([0.0, 0.0, SHOULDER_HEIGHT])
    x, y, z = (wrist - shoulder).tolist()
    out = float(np.hypot(x, y))
    reach = min(max(float(np.hypot(out, z)), abs(UPPER_ARM - FOREARM) + 1e-3), UPPER_ARM + FOREARM - 1e-3)
    cosine = (UPPER_ARM**2 + reach**2 - FOREARM**2) / (2 * UPPER_ARM * reach)
    lift = np.arctan2(z, out) + np.arccos(cosine)
    along = UPPER_ARM * np.cos(lift) / max(out, 1e-9)
    bend: Floats = shoulder + np.array([x * along, y * along, UPPER_ARM * np.sin(lift)])
    return bend
