"""A six-joint arm with the proportions of an SO-101: forward and inverse kinematics, both analytic.

The base stands at the origin; x points forward over the table, y to the arm's left, z up, and the
table top is z = 0. All links move in one vertical plane that ``shoulder_pan`` turns about z, so every
position is also (pan, radius, height, pitch): `planar` and `from_planar` speak that language.
Pitch is the tool's angle from straight up; π points straight down.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")

SHOULDER_HEIGHT = 0.12
UPPER_ARM = 0.116
FOREARM = 0.135
TOOL = 0.16
GRIPPER_CLOSED = 0.0
_LENGTHS: Array = np.array([UPPER_ARM, FOREARM, TOOL])
_AT_ZERO: Array = np.array([0.0, np.pi / 2, np.pi / 2])

# wrist_flex goes further than the real arm's 1.66 rad: the tool stays vertical at hover height.
LOWER: Array = np.array([-1.92, -1.75, -1.69, -2.0, -2.8, -0.17])
UPPER: Array = np.array([1.92, 1.75, 1.69, 2.0, 2.8, 1.75])


def planar(q: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """Radius (signed, m), height (m) and pitch (rad) of the tip, each [...], for joints ``q`` [..., 6]."""
    joints = np.asarray(q, dtype=np.float64)
    angles = _pitches(joints)
    radius: Array = np.sin(angles) @ _LENGTHS
    height: Array = np.cos(angles) @ _LENGTHS + SHOULDER_HEIGHT
    return radius, height, angles[..., 2]


def from_planar(pan: Array, radius: Array, height: Array, pitch: Array) -> Array:
    """Joints [..., 6] that put the tip at (pan, radius, height) with this pitch, elbow up.

    Unreachable wrist positions are moved along the line to the shoulder onto the nearest reachable
    one; joints are clipped to their limits. wrist_roll is 0, the gripper closed.
    """
    out = radius - TOOL * np.sin(pitch)
    up = height - TOOL * np.cos(pitch) - SHOULDER_HEIGHT
    nearest, farthest = abs(FOREARM - UPPER_ARM), FOREARM + UPPER_ARM
    # The margin keeps the square root of the elbow angle away from its infinite slope.
    reach = np.clip(np.hypot(out, up), nearest + 1e-3, farthest - 1e-3)
    cosine = (reach**2 - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM)
    bend = np.arccos(np.clip(cosine, -1.0, 1.0))
    upper = np.arctan2(out, up) - np.arctan2(FOREARM * np.sin(bend), UPPER_ARM + FOREARM * np.cos(bend))
    zero = np.zeros_like(bend)
    joints = (
        np.broadcast_to(pan, bend.shape),
        upper,
        bend - np.pi / 2,
        pitch - upper - bend,
        zero,
        zero + GRIPPER_CLOSED,
    )
    stacked: Array = np.stack(joints, axis=-1)
    return stacked.clip(LOWER, UPPER)


def forward(q: npt.ArrayLike) -> Array:
    """Positions [..., 5, 3] in metres of base, shoulder, elbow, wrist and tip for joints ``q`` [..., 6]."""
    joints = np.asarray(q, dtype=np.float64)
    angles = _pitches(joints)
    radius = np.add.accumulate(_LENGTHS * np.sin(angles), axis=-1)
    points = np.zeros((*joints.shape[:-1], 5, 3))
    points[..., 2:, 0] = radius * np.cos(joints[..., :1])
    points[..., 2:, 1] = radius * np.sin(joints[..., :1])
    points[..., 1, 2] = SHOULDER_HEIGHT
    points[..., 2:, 2] = SHOULDER_HEIGHT + np.add.accumulate(_LENGTHS * np.cos(angles), axis=-1)
    return points


def tip(q: npt.ArrayLike) -> Array:
    """Tip position [..., 3] in metres for joints ``q`` [..., 6]."""
    joints = np.asarray(q, dtype=np.float64)
    radius, height, _ = planar(joints)
    pan = joints[..., 0]
    return np.stack((radius * np.cos(pan), radius * np.sin(pan), height), axis=-1)


def inverse(xyz: npt.ArrayLike) -> Array:
    """Joints [..., 6] that put the tip at ``xyz`` [..., 3] (m), tool straight down.

    Unreachable targets are projected: the azimuth to the pan limits, the distance to what the links
    reach. The result is always within the joint limits.
    """
    target = np.asarray(xyz, dtype=np.float64)
    azimuth = np.arctan2(target[..., 1], target[..., 0])
    pan = np.clip(azimuth, LOWER[0], UPPER[0])
    distance = np.hypot(target[..., 0], target[..., 1])
    radius = np.maximum(distance * np.cos(azimuth - pan), 0.0)
    return from_planar(pan, radius, target[..., 2], np.full_like(radius, np.pi))


def _pitches(q: Array) -> Array:
    """Angles [..., 3] of upper arm, forearm and tool from straight up; at zero only the first is."""
    angles: Array = np.add.accumulate(q[..., 1:4], axis=-1)
    return angles + _AT_ZERO


REST: Array = inverse((0.11, 0.0, 0.12))
