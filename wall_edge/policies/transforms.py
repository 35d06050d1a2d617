"""Joint positions in rad ↔ what the model takes and gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats, Floats32
from wall_edge.bundle import Manifest
from wall_edge.errors import PolicyError


def physical(manifest: Manifest, actions: npt.NDArray[np.floating], state: Floats) -> Floats:
    """Normalised actions ``[horizon, dof]`` → joint positions in rad."""
    positions = manifest.embodiment.action.restore(actions.astype(np.float64))
    return positions + state if manifest.embodiment.action_reference == "state" else positions


def normalised(manifest: Manifest, positions: Floats, state: Floats) -> Floats:
    """Joint positions ``[horizon, dof]`` in rad → normalised actions; :func:`physical` the other way."""
    relative = positions - state if manifest.embodiment.action_reference == "state" else positions
    return manifest.embodiment.action.normalize(relative)


def model_state(manifest: Manifest, state: Floats) -> tuple[Floats32, Floats32]:
    """Joints ``[dof]`` in rad → what the state token takes and its mask, ``[slots]`` both.

    Raises :class:`PolicyError`.
    """
    if state.shape != (manifest.dof,) or not np.all(np.isfinite(state)):
        raise PolicyError(f"joint state {state.tolist()}", expected=f"{manifest.dof} finite values in rad")
    values, mask = np.zeros((2, manifest.state_slots), dtype=np.float32)
    slots = list(manifest.embodiment.state_slots)
    values[slots] = manifest.embodiment.state.normalize(state)
    mask[slots] = 1.0
    return values, mask
