"""Rotations as matrices, and to and from the ways in which policies write them.

============  ======  ==========================================================================
kind          values  matrix
============  ======  ==========================================================================
rpy           3       Rz(yaw) Ry(pitch) Rx(roll): turns about fixed axes x, y, z, as in URDF
euler_zyx     3       Rz(first) Ry(second) Rx(third): turns about moving axes z, y, x
rotvec        3       axis times angle
quaternion    4       x, y, z, w; of any length but 0
6d            6       first column, second column; orthonormalised by Gram and Schmidt
6d_rows       6       first row, second row, as WALL-OSS's own tools write 6d: the transposed of ``6d``
============  ======  ==========================================================================

6d is that of Zhou et al., "On the Continuity of Rotation Representations in Neural Networks" (2019); 6d_rows
is what WALL-OSS names ``rotation_6D`` (wall-x, ``x2robot_utils/geometry.py``): read as columns, it would be
the inverse rotation. Angles near π come out to 1e-15: they are read off a quaternion's largest component,
never off an arccosine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError
from wall_edge.files import shown
from wall_edge.kinematics.rotations.geodesic import exp, log, quaternion_of

SIZES = {"rpy": 3, "euler_zyx": 3, "rotvec": 3, "quaternion": 4, "6d": 6, "6d_rows": 6}
LARGEST_ANGLE = 1e4
"""rad; more is no angle, and would lose its digits."""
_SMALLEST = 1e-6
"""Below this a quaternion or an axis of 6d is noise about 0."""


def to_matrix(kind: str, values: Floats) -> Floats:
    """Rotation matrices ``[..., 3, 3]`` of ``values [..., SIZES[kind]]``.

    Raises:
        KinematicsError: for another kind or size, for what is not finite, and for what is no rotation: a
            quaternion of length 0, parallel halves of 6d, angles beyond ``LARGEST_ANGLE``.
    """
    values = np.asarray(values, np.float64)
    size = require_kind(kind)
    if values.ndim == 0 or values.shape[-1] != size:
        raise KinematicsError(f"{kind} of shape {values.shape}", expected=f"{size} values a rotation")
    if not np.isfinite(values).all():
        raise _no_rotation(kind, values, ~np.isfinite(values).all(-1), "finite values")
    if kind in ("rpy", "euler_zyx", "rotvec") and (np.abs(values) > LARGEST_ANGLE).any():
        raise _no_rotation(kind, values, (np.abs(values) > LARGEST_ANGLE).any(-1), "angles in rad")
    return _TO[kind](values)


def from_matrix(kind: str, matrices: Floats) -> Floats:
    """Values ``[..., SIZES[kind]]`` of rotation matrices ``[..., 3, 3]``.

    Of several values that mean the same: pitch within ±π/2, rotation vectors of at most π, quaternions
    with w ≥ 0; ``nearest_values`` chooses by a neighbour. Where pitch is ±π/2 noise decides what is roll and
    what is yaw; the rotation that they stand for is right.
    """
    require_kind(kind)
    return _FROM[kind](np.asarray(matrices, np.float64))


def _from_rpy(values: Floats) -> Floats:
    (cr, cp, cy), (sr, sp, sy) = (np.moveaxis(f(values), -1, 0) for f in (np.cos, np.sin))
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _to_rpy(matrices: Floats) -> Floats:
    m = np.moveaxis(matrices, (-2, -1), (0, 1))
    yaw = np.arctan2(m[1, 0], m[0, 0])
    pitch = np.arctan2(-m[2, 0], np.hypot(m[0, 0], m[1, 0]))
    c, s = np.cos(yaw), np.sin(yaw)
    roll = np.arctan2(s * m[0, 2] - c * m[1, 2], c * m[1, 1] - s * m[0, 1])  # holds at pitch ±π/2 too
    return np.stack([roll, pitch, yaw], -1)


def _from_quaternion(values: Floats) -> Floats:
    scaled = values / np.maximum(np.abs(values).max(-1, keepdims=True), 1e-300)
    length = np.linalg.norm(scaled, axis=-1, keepdims=True)
    empty = np.abs(values).max(-1) < _SMALLEST
    if empty.any():
        raise _no_rotation("quaternion", values, empty, "a length other than 0")
    x, y, z, w = np.moveaxis(scaled / length, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _from_6d(values: Floats) -> Floats:
    first, second = values[..., :3], values[..., 3:]
    x = first / np.maximum(np.abs(first).max(-1, keepdims=True), 1e-300)
    x = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-300)
    y = second / np.maximum(np.abs(second).max(-1, keepdims=True), 1e-300)
    y = y - (x * y).sum(-1, keepdims=True) * x
    length = np.linalg.norm(y, axis=-1)
    none = np.minimum(np.abs(first).max(-1), np.abs(second).max(-1)) < _SMALLEST
    if (none | (length < _SMALLEST)).any():
        raise _no_rotation("6d", values, none | (length < _SMALLEST), "two axes that are not parallel")
    y = y / length[..., None]
    y = y - (x * y).sum(-1, keepdims=True) * x  # once more: the first pass leaves 1e-16 / length
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], -1)


def _to_6d(matrices: Floats) -> Floats:
    return np.concatenate([matrices[..., :, 0], matrices[..., :, 1]], -1)


def require_kind(kind: str) -> int:
    if kind not in SIZES:
        raise KinematicsError(f"{shown(kind, 60)} as a rotation", expected=" or ".join(SIZES))
    return SIZES[kind]


def _no_rotation(kind: str, values: Floats, where: npt.ArrayLike, expected: str) -> KinematicsError:
    bad = values.reshape(-1, values.shape[-1])[int(np.argmax(np.ravel(where)))]
    return KinematicsError(f"{kind} [{', '.join(f'{v:.6g}' for v in bad)}] is no rotation", expected=expected)


_TO: dict[str, Callable[[Floats], Floats]] = {
    "rpy": _from_rpy,
    "euler_zyx": lambda values: _from_rpy(values[..., ::-1]),
    "rotvec": exp,
    "quaternion": _from_quaternion,
    "6d": _from_6d,
    "6d_rows": lambda values: _from_6d(values).swapaxes(-1, -2),
}
_FROM: dict[str, Callable[[Floats], Floats]] = {
    "rpy": _to_rpy,
    "euler_zyx": lambda matrices: _to_rpy(matrices)[..., ::-1],
    "rotvec": log,
    "quaternion": quaternion_of,
    "6d": _to_6d,
    "6d_rows": lambda matrices: _to_6d(matrices.swapaxes(-1, -2)),
}
