"""Policy values ↔ what the model takes and gives: normalisation, and offsets from a state or a first step.

Policy values are the degrees of freedom of the manifest's embodiment, each in its own unit, absolute.
Rotations are composed as rotations, whatever they are written as: no component is added to another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats, Floats32
from wall_edge.bundle import Embodiment, Layout, Manifest
from wall_edge.errors import KinematicsError, PolicyError
from wall_edge.kinematics.rotations import from_matrix, to_matrix
from wall_edge.policies.rotation_range import written_in_range

_Pose = tuple[Floats | None, Floats | None]
"""Positions ``[..., 3]`` and rotations ``[..., 3, 3]``, of what there is."""
_Compose = Callable[[_Pose, _Pose, bool], _Pose]
"""Of a pose, the pose that it refers to, and whether offsets are in the tip's axes."""


def physical(manifest: Manifest, actions: npt.NDArray[np.floating], state: Floats) -> Floats:
    """Normalised actions ``[horizon, degrees]`` → policy values, from a state of policy values ``[degrees]``.

    Raises :class:`PolicyError` for offsets that are no rotation.
    """
    values = manifest.embodiment.action.restore(actions.astype(np.float64))
    try:
        return absolute(manifest.embodiment, values, state)
    except KinematicsError as problem:
        raise PolicyError(f"the action chunk: {problem}") from None


def normalised(manifest: Manifest, values: Floats, state: Floats) -> Floats:
    """Policy values ``[horizon, degrees]`` → normalised actions; :func:`physical` the other way."""
    return manifest.embodiment.action.normalize(model_values(manifest, values, state))


def model_values(manifest: Manifest, values: Floats, state: Floats) -> Floats:
    """Policy values ``[horizon, degrees]`` as the model has them: offsets, rotations as it saw them."""
    offsets = relative(manifest.embodiment, values, state)
    return written_in_range(manifest.embodiment.action, offsets)


def absolute(embodiment: Embodiment, offsets: Floats, state: Floats) -> Floats:
    """What actions as the model has them (restored), ``[..., horizon, degrees]``, mean as policy values.

    ``state``: policy values ``[..., degrees]`` of the state. Raises :class:`KinematicsError` for numbers that
    are no rotation.
    """
    return _shift(embodiment, offsets, state, _apply, 1.0)


def relative(embodiment: Embodiment, values: Floats, state: Floats) -> Floats:
    """Policy values as offsets from what each is relative to: :func:`absolute` backwards."""
    return _shift(embodiment, values, state, _difference, -1.0)


def model_state(manifest: Manifest, state: Floats) -> tuple[Floats32, Floats32]:
    """Policy values ``[degrees]`` of a state → the model's normalised ones and their mask, ``[slots]`` both.

    Raises :class:`PolicyError`.
    """
    return slot_values(manifest.embodiment.state, manifest.state_slots, state)


def slot_values(layout: Layout, count: int, state: Floats) -> tuple[Floats32, Floats32]:
    """As :func:`model_state`, of a layout in ``count`` slots."""
    if state.shape != (len(layout),) or not np.all(np.isfinite(state)):
        raise PolicyError(f"state {state.tolist()}", expected=f"{len(layout)} finite values")
    values, mask = np.zeros((2, count), dtype=np.float32)
    slots = list(layout.slots)
    values[: len(layout.masked)] = layout.masked
    values[slots] = layout.normalize(written_in_range(layout, state))
    mask[slots] = 1.0
    return values, mask


def _shift(embodiment: Embodiment, values: Floats, state: Floats, compose: _Compose, sign: float) -> Floats:
    result = np.array(values, dtype=np.float64)
    mine, theirs = _plain_columns(embodiment)
    if mine:
        result[..., mine] += sign * state[..., None, theirs]
    firsts = [i for i, d in enumerate(embodiment.action.degrees) if d.reference == "first" and _plain(d.part)]
    result[..., 1:, firsts] += sign * values[..., :1, firsts]
    for pose, reference in _offset_poses(embodiment.action):
        tip = embodiment.poses[pose].offset_axes == "tip"
        steps = values[..., 1:, :] if reference == "first" else values
        if reference == "first":
            base = _read(embodiment.action, pose, values[..., :1, :])
        else:
            base = _read(embodiment.state, pose, state[..., None, :])
        moved = compose(_read(embodiment.action, pose, steps), base, tip)
        _write(embodiment.action, pose, result[..., 1:, :] if reference == "first" else result, moved)
    return result


def _plain(part: str) -> bool:
    """What adds up: everything but poses, and what is held has no reference."""
    return part in ("joint", "sink")


def _plain_columns(embodiment: Embodiment) -> tuple[list[int], list[int]]:
    """Columns of the actions that are plain offsets from the state, and the state's columns for them."""
    observed = {(d.part, d.of, d.index): i for i, d in enumerate(embodiment.state.degrees)}
    pairs = [
        (i, observed[d.part, d.of, d.index])
        for i, d in enumerate(embodiment.action.degrees)
        if d.reference == "state" and _plain(d.part)
    ]
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs]


def _offset_poses(action: Layout) -> Iterator[tuple[str, str]]:
    """Poses whose actions are offsets, and what from."""
    yield from dict.fromkeys(
        (d.of, d.reference)
        for d in action.degrees
        if d.part in ("position", "rotation") and d.reference != "absolute"
    )


def _read(layout: Layout, pose: str, values: Floats) -> _Pose:
    position, rotation = layout.columns("position", pose), layout.columns("rotation", pose)
    return (
        values[..., position] if position else None,
        to_matrix(layout.rotations[pose], values[..., rotation]) if rotation else None,
    )


def _write(layout: Layout, pose: str, values: Floats, moved: _Pose) -> None:
    """Into ``values`` (a view), in the layout's form."""
    position, rotation = moved
    if position is not None:
        values[..., layout.columns("position", pose)] = position
    if rotation is not None:
        values[..., layout.columns("rotation", pose)] = from_matrix(layout.rotations[pose], rotation)


def _apply(offset: _Pose, base: _Pose, tip: bool) -> _Pose:
    """Base axes: p = p₀ + Δp, R = ΔR·R₀; the tip's: p = p₀ + R₀·Δp, R = R₀·ΔR."""
    (move, turn), (position, rotation) = offset, base
    if move is not None and tip and rotation is not None:
        move = (rotation @ move[..., None])[..., 0]
    moved = None if move is None or position is None else position + move
    if turn is None or rotation is None:
        return moved, None
    return moved, rotation @ turn if tip else turn @ rotation


def _difference(pose: _Pose, base: _Pose, tip: bool) -> _Pose:
    """The offset that :func:`_apply` makes ``pose`` of."""
    (there, turned), (position, rotation) = pose, base
    move = None if there is None or position is None else there - position
    back = None if rotation is None else np.swapaxes(rotation, -1, -2)
    if move is not None and tip and back is not None:
        move = (back @ move[..., None])[..., 0]
    if turned is None or back is None:
        return move, None
    return move, back @ turned if tip else turned @ back
