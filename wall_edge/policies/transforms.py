"""Policy values ↔ what the model takes and gives: normalisation, and offsets from a state or a first step.

Policy values are the degrees of freedom of the manifest's embodiment, each in its own unit, absolute. Rotations
are composed as rotations, whatever they are written as: no component of one is ever added to another's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats, Floats32
from wall_edge.bundle import Embodiment, Layout, Manifest
from wall_edge.errors import PolicyError
from wall_edge.kinematics.rotations import from_matrix, to_matrix


def physical(manifest: Manifest, actions: npt.NDArray[np.floating], state: Floats) -> Floats:
    """Normalised actions ``[horizon, degrees]`` → policy values, from a state of policy values ``[degrees]``.

    Raises :class:`KinematicsError` for numbers that are no rotation.
    """
    values = manifest.embodiment.action.restore(actions.astype(np.float64))
    return absolute(manifest.embodiment, values, state)


def normalised(manifest: Manifest, values: Floats, state: Floats) -> Floats:
    """Policy values ``[horizon, degrees]`` → normalised actions; :func:`physical` the other way."""
    return manifest.embodiment.action.normalize(relative(manifest.embodiment, values, state))


def absolute(embodiment: Embodiment, offsets: Floats, state: Floats) -> Floats:
    """What actions as the model has them (restored) mean as policy values."""
    return _shift(embodiment, offsets, state, _apply)


def relative(embodiment: Embodiment, values: Floats, state: Floats) -> Floats:
    """Policy values as offsets from what each degree of freedom is relative to."""
    return _shift(embodiment, values, state, _difference)
