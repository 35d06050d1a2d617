"""Series of rotations in numbers that do not jump where the rotation does not."""

from __future__ import annotations

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.kinematics.rotations.kinds import require_kind


def nearest_values(kind: str, values: Floats, previous: Floats) -> Floats:
    """Of all ``values [..., n]`` that mean the same rotation, those nearest to ``previous [..., n]``.

    Makes a series continuous where the rotation is: angles run beyond ±π, a quaternion keeps its sign. (No
    choice helps a rotation vector near a whole turn, where its axis turns over.)
    """
    require_kind(kind)
    values, previous = np.asarray(values, np.float64), np.asarray(previous, np.float64)
    if kind in ("6d", "6d_rows"):
        return np.array(values)
    if kind == "quaternion":
        return np.asarray(np.where((values * previous).sum(-1, keepdims=True) < 0, -values, values))
    if kind == "rotvec":
        return _nearest_rotvec(values, previous)
    half = np.full_like(values, np.pi)  # (r, p, y) and (r + π, π − p, y + π) are one rotation
    other = np.concatenate([values[..., :1], -values[..., 1:2], values[..., 2:]], -1) + half
    one, two = (v + 2 * np.pi * np.round((previous - v) / (2 * np.pi)) for v in (values, other))
    nearer = ((two - previous) ** 2).sum(-1, keepdims=True) < ((one - previous) ** 2).sum(-1, keepdims=True)
    return np.asarray(np.where(nearer, two, one))


def unwrap(kind: str, values: Floats) -> Floats:
    """A series ``[steps, n]`` of one rotation each without jumps: the first stays as it is."""
    result = np.array(values, np.float64)
    for step in range(1, len(result)):
        result[step] = nearest_values(kind, result[step], result[step - 1])
    return result


def _nearest_rotvec(values: Floats, previous: Floats) -> Floats:
    angle = np.linalg.norm(values, axis=-1, keepdims=True)
    length = np.linalg.norm(previous, axis=-1, keepdims=True)
    along = np.divide(previous, length, out=np.zeros_like(previous), where=length > 0)
    axis = np.divide(values, angle, out=along, where=angle > 1e-9)
    turns = np.round(((axis * previous).sum(-1, keepdims=True) - angle) / (2 * np.pi))
    result: Floats = values + axis * (2 * np.pi * turns)
    return result
