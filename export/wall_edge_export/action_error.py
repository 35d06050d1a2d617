"""How far a bundle's final action chunks are from another's on the same observations and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from wall_edge_engines.base import Engine

from wall_edge.bundle import Manifest
from wall_edge.policy import FlowPolicy, Prompts, new_session

from .samples import Sample

Floats = npt.NDArray[np.float64]

_RESAMPLES, _CONFIDENCE = 2000, 0.975


@dataclass(frozen=True)
class ActionError:
    """Errors of the normalised chunks, over all observations together."""

    cosine: float
    relative_l2: float
    upper_relative_l2: float
    """What ``relative_l2`` stays below on other observations of the same kind, with 97.5 % confidence."""
    max_abs: float
    observations: int


def chunks(
    manifest: Manifest,
    prompts: Prompts,
    engine: Engine,
    samples: Sequence[Sample],
    *,
    integration_steps: int | None = None,
    seed: int = 0,
) -> Floats:
    """Normalised action chunks ``[samples, horizon, dof]``; the noise depends on ``seed`` alone."""
    policy = FlowPolicy(manifest, prompts, new_session(manifest, engine), integration_steps=integration_steps)
    rng = np.random.default_rng(seed)
    shape, slots = (manifest.horizon, manifest.action_slots), list(manifest.embodiment.action_slots)
    made = [
        policy.normalised_chunk(s.observation, s.words, rng.standard_normal(shape, dtype=np.float32))[
            :, slots
        ]
        for s in samples
    ]
    return np.stack(made).astype(np.float64)


def action_error(found: Floats, reference: Floats) -> ActionError:
    """Compare chunks ``[samples, horizon, dof]``; the bound is a bootstrap over the observations."""
    lost = np.square(found - reference).sum(axis=(1, 2))
    size = np.square(reference).sum(axis=(1, 2))
    picks = np.random.default_rng(0).integers(0, len(lost), (_RESAMPLES, len(lost)))
    resampled = np.sqrt(lost[picks].sum(axis=1) / size[picks].sum(axis=1))
    dot = float((found * reference).sum())
    return ActionError(
        cosine=dot / float(np.linalg.norm(found) * np.linalg.norm(reference)),
        relative_l2=float(np.sqrt(lost.sum() / size.sum())),
        upper_relative_l2=float(np.quantile(resampled, _CONFIDENCE)),
        max_abs=float(np.abs(found - reference).max()),
        observations=len(lost),
    )
