"""One rotation can be written in several ways: which of them a policy was trained on.

Angles differ by turns, quaternions by their sign, rotation vectors by turns about their axis. The statistics
of a policy's training say which it saw: normalised, those lie within ±1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.bundle import Layout
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.rotations import from_matrix, nearest_values, to_matrix

_NEARLY = 1.15
"""Normalised: a policy may go a little beyond what it saw."""
_LOOSELY = 4.0
"""Normalised by a standard deviation, values go as far as this."""
_USUAL = 1.05 * np.array([np.pi, np.pi / 2, np.pi])
"""Angles as most tools write them, and a little beyond."""
_TURN = 2 * np.pi


def written_in_range(layout: Layout, values: Floats) -> Floats:
    """``values [..., degrees]`` with each rotation as the layout's statistics have it.

    What lies within them stays as it is; of what does not, the way of writing that is the least outside.
    """
    result = values
    for pose, form in layout.rotations.items():
        columns = layout.columns("rotation", pose)
        present = result[..., columns]
        beyond = _beyond(layout, columns, present)
        if form in ("6d", "6d_rows") or (beyond <= 1).all():
            continue
        middle = np.broadcast_to(np.array(layout.offset)[columns], present.shape)
        if form in ("rpy", "euler_zyx"):
            other = present + _TURN * np.round((middle - present) / _TURN)
        else:
            other = nearest_values(form, present, middle)
        better = (beyond > 1) & (_beyond(layout, columns, other) < beyond)
        result = result.copy()
        result[..., columns] = np.where(better[..., None], other, present)
    return result


def ambiguous(layout: Layout, values: Floats) -> npt.NDArray[np.bool_]:
    """Which of ``values [..., degrees]`` belong to a rotation that the policy might write otherwise.

    There a difference of components is no difference of rotations: a chunk must not be pulled by it.
    """
    result = np.zeros(values.shape, dtype=np.bool_)
    for pose, form in layout.rotations.items():
        columns = layout.columns("rotation", pose)
        ways = [_plausible(layout, columns, form, other) for other in _other_ways(form, values[..., columns])]
        if ways:
            result[..., columns] = np.logical_or.reduce(ways)[..., None]
    return result


def valid_rotations(layout: Layout, values: Floats) -> Floats:
    """``values [degrees]``, drawn at random or 0, in which what is meant to be a rotation is one."""
    result = np.array(values, dtype=np.float64)
    for pose, form in layout.rotations.items():
        if form not in ("quaternion", "6d", "6d_rows"):
            continue  # any three numbers are a rotation
        columns = layout.columns("rotation", pose)
        try:
            matrix = to_matrix(form, result[columns])
        except KinematicsError:
            matrix = np.eye(3)
        result[columns] = from_matrix(form, matrix)
    return result


def middle_of(layout: Layout) -> Floats:
    """Policy values ``[degrees]`` in the middle of the training's ranges."""
    return valid_rotations(layout, np.array(layout.offset))


def _beyond(layout: Layout, columns: list[int], values: Floats) -> Floats:
    """The largest normalised component ``[...]`` of ``values [..., n]``."""
    offset, scale = np.array(layout.offset)[columns], np.array(layout.scale)[columns]
    largest: Floats = np.abs((values - offset) / scale).max(-1)
    return largest


def _plausible(layout: Layout, columns: list[int], form: str, values: Floats) -> npt.NDArray[np.bool_]:
    """Whether a policy with these statistics might write a rotation as ``values [..., n]``.

    As what it saw, or as most tools do if the statistics, which may be means and deviations, allow for it.
    """
    beyond = _beyond(layout, columns, values)
    if form == "quaternion":
        usual = np.asarray(values[..., 3] >= -0.05)
    elif form == "rotvec":
        length = np.linalg.norm(values, axis=-1)
        usual = np.asarray(length <= _USUAL[0])
        # The statistics are a box around a ball: its corners are no rotation that anybody saw.
        beyond = np.maximum(beyond, length / max(np.pi, *(np.abs(layout.offset) + layout.scale)[columns]))
    else:
        usual = np.asarray((np.abs(values) <= _USUAL).all(-1))
    return np.asarray((beyond <= _NEARLY) | (usual & (beyond <= _LOOSELY)))


def _other_ways(form: str, values: Floats) -> list[Floats]:
    """What else means the same rotation, of what a policy may have been trained on."""
    if form == "quaternion":
        return [-values]
    if form == "rotvec":
        angle = np.linalg.norm(values, axis=-1, keepdims=True)
        axis = np.divide(values, angle, out=np.full_like(values, 3**-0.5), where=angle > 1e-9)
        return [values - _TURN * axis, values + _TURN * axis]
    if form in ("6d", "6d_rows"):
        return []
    turns = [sign * _TURN * np.eye(3)[i] for i in range(3) for sign in (-1, 1)]
    flipped = values * [1, -1, 1] + np.pi  # (r, p, y) and (r + π, π − p, y + π) are one rotation
    flips = [flipped - _TURN * np.array([a, 0, b]) for a in (0, 1) for b in (0, 1)]
    return [*(values + turn for turn in turns), *flips]
