"""What the goldens of a bundle are computed from."""

from __future__ import annotations

import numpy as np

from wall_edge.array_types import Array
from wall_edge.bundle import Manifest
from wall_edge.policies.observation import Observation
from wall_edge.policies.rotation_range import valid_rotations
from wall_edge.verification.action_stages import ACTION_STAGES


def golden_inputs(
    observation: Observation, words: str, manifest: Manifest, seed: int = 0
) -> dict[str, Array]:
    """An observation, words and what the actions need (fixed noise), by the names that goldens have."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {f"frames.{name}": frame for name, frame in observation.frames.items()}
    inputs["state"] = observation.state
    inputs["instruction"] = np.array(words)
    return inputs | ACTION_STAGES[manifest.actions.kind].inputs(manifest, rng)


def synthetic_observation(manifest: Manifest, seed: int = 0) -> Observation:
    """Noisy frames, and a state inside the normalised range."""
    rng = np.random.default_rng(seed)
    frames = {
        name: rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in manifest.cameras.items()
    }
    layout = manifest.embodiment.state
    state = layout.restore(rng.uniform(-0.9, 0.9, len(layout)))
    return Observation(0, frames, valid_rotations(layout, state))
