"""Rotations as matrices: their logarithm, angles between them, what lies between, and their mean."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.errors import KinematicsError

AMBIGUOUS = math.pi - 0.1
"""From this difference on, noise decides which way round is the shorter one: nothing should be blended."""


def exp(rotvec: Floats) -> Floats:
    """Matrices ``[..., 3, 3]`` of axis times angle ``[..., 3]`` (Rodrigues)."""
    rotvec = np.asarray(rotvec, np.float64)
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    cross = np.zeros((*rotvec.shape[:-1], 3, 3))
    x, y, z = rotvec[..., 0], rotvec[..., 1], rotvec[..., 2]
    cross[..., 2, 1], cross[..., 0, 2], cross[..., 1, 0] = x, y, z
    cross[..., 1, 2], cross[..., 2, 0], cross[..., 0, 1] = -x, -y, -z
    # np.sinc(t) is sin(πt)/(πt); 1 − cos θ = 2 sin²(θ/2) keeps the digits of small angles.
    squared: Floats = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)
    result: Floats = np.eye(3) + np.sinc(angle / np.pi) * cross + squared
    return result


def log(matrices: Floats) -> Floats:
    """Axis times angle ``[..., 3]`` of matrices ``[..., 3, 3]``; the angle is from 0 to π."""
    quaternion = quaternion_of(np.asarray(matrices, np.float64))
    length = np.linalg.norm(quaternion[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(length, quaternion[..., 3:])
    ratio = np.divide(angle, length, out=np.full_like(length, 2.0), where=length > 1e-150)
    result: Floats = quaternion[..., :3] * ratio
    return result


def distance(a: Floats, b: Floats) -> Floats:
    """Angle between rotations ``[..., 3, 3]``, rad, from 0 to π."""
    angle: Floats = np.linalg.norm(log(_transposed(a) @ b), axis=-1)
    return angle


def ambiguous(a: Floats, b: Floats) -> npt.NDArray[np.bool_]:
    """Whether rotations ``[..., 3, 3]`` differ by so much that nothing between them should be commanded."""
    return np.asarray(distance(a, b) > AMBIGUOUS)


def blend(a: Floats, b: Floats, weight: Floats | float) -> Floats:
    """The rotations ``[..., 3, 3]`` on the shortest way from ``a`` (weight 0) to ``b`` (weight 1): slerp.

    Where the two differ by π both ways round are equally short, and one of them is taken: ask
    :func:`ambiguous` first.
    """
    step = log(_transposed(a) @ b)
    result: Floats = np.asarray(a) @ exp(np.asarray(weight, np.float64)[..., None] * step)
    return result


def mean(matrices: Floats, weights: Floats) -> Floats:
    """The rotation ``[..., 3, 3]`` with the least weighted squared angle to ``matrices [n, ..., 3, 3]``.

    ``weights [n, ...]`` are not negative and not all 0. Starts at the first rotation of a positive weight
    and takes the mean in the space of rotation vectors there, again from the result until it stands
    (Manton, "A globally convergent numerical algorithm for computing the centre of mass", 2004).

    Raises:
        KinematicsError: for weights that are none, and where a rotation of a positive weight is
            :func:`ambiguous` to that first one.
    """
    matrices, weights = np.asarray(matrices, np.float64), np.asarray(weights, np.float64)
    weights = np.broadcast_to(weights.reshape(weights.shape + (1,) * (matrices.ndim - 2 - weights.ndim)),
                              matrices.shape[:-2])  # fmt: skip
    total = weights.sum(0)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (total > 0).all()):
        raise KinematicsError("weights of a mean of rotations", expected="none negative, not all 0, finite")
    first = np.argmax(weights > 0, axis=0)
    centre = np.take_along_axis(matrices, first[None, ..., None, None], 0)[0]
    if (ambiguous(np.broadcast_to(centre, matrices.shape), matrices) & (weights > 0)).any():
        raise KinematicsError("a mean of rotations that differ by about 180°", expected="rotations nearby")
    for _ in range(20):
        step = (weights[..., None] * log(_transposed(centre) @ matrices)).sum(0) / total[..., None]
        centre = centre @ exp(step)
        if np.abs(step).max(initial=0) < 1e-13:
            break
    return np.asarray(centre, np.float64)


def quaternion_of(matrices: Floats) -> Floats:
    """Quaternions ``[..., 4]`` (x, y, z, w; w ≥ 0), by the largest component (Shepperd, 1978)."""
    m = np.moveaxis(matrices, (-2, -1), (0, 1))
    xx, yy, zz = m[0, 0], m[1, 1], m[2, 2]
    a, b, c = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    xy, xz, yz = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    candidates = np.stack([  # four times a component, times all components
        np.stack([1 + xx - yy - zz, xy, xz, a], -1),
        np.stack([xy, 1 - xx + yy - zz, yz, b], -1),
        np.stack([xz, yz, 1 - xx - yy + zz, c], -1),
        np.stack([a, b, c, 1 + xx + yy + zz], -1),
    ])  # fmt: skip
    largest = np.argmax(np.stack([candidates[i, ..., i] for i in range(4)]), 0)
    quaternion = np.take_along_axis(candidates, largest[None, ..., None], 0)[0]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    result: Floats = np.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    return result


def _transposed(matrices: Floats) -> Floats:
    return np.swapaxes(np.asarray(matrices, np.float64), -1, -2)
