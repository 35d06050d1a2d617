"""Rotation matrices [..., 3, 3] from and to roll, pitch, yaw and rotation vectors, all in radians."""

from __future__ import annotations

import numpy as np

from wall_edge.array_types import Floats


def from_rpy(rpy: Floats) -> Floats:
    """``Rz(yaw)·Ry(pitch)·Rx(roll)`` of rpy [..., 3]: URDF's convention, about fixed axes."""
    (cr, cp, cy), (sr, sp, sy) = (np.moveaxis(f(rpy), -1, 0) for f in (np.cos, np.sin))
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def to_rpy(rotation: Floats) -> Floats:
    """rpy [..., 3] with a pitch within ±π/2."""
    pitch = np.arctan2(-rotation[..., 2, 0], np.hypot(rotation[..., 2, 1], rotation[..., 2, 2]))
    roll = np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    return np.stack((roll, pitch, np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])), axis=-1)


def to_vector(rotation: Floats) -> Floats:
    """Rotation vector [..., 3] of a rotation by less than π."""
    skew = np.stack(
        (
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ),
        axis=-1,
    )
    twice_sine = np.linalg.norm(skew, axis=-1, keepdims=True)
    cosine = (np.trace(rotation, axis1=-2, axis2=-1)[..., None] - 1) / 2
    angle = np.arctan2(twice_sine / 2, cosine)
    return np.where(twice_sine > 1e-9, skew * angle / np.maximum(twice_sine, 1e-9), skew / 2)


def from_vector(vector: Floats) -> Floats:
    """Rodrigues' formula for rotation vectors [..., 3]."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    skew = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + first * skew + second * skew @ skew)
