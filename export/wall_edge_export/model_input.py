"""A recorded sample → what the model takes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wall_edge.bundle import Manifest
from wall_edge.policy import model_state, observed_frames
from wall_edge.prompt import TURN_END, next_position, subgoal_text
from wall_edge.vision import patches

from .calibrate import ModelInput
from .samples import Sample
from .source import Source


def model_input(sample: Sample, manifest: Manifest, source: Source) -> ModelInput:
    """Tokenise, normalise and place one sample.

    Its words serve as the action prompt's instruction, and as both question and answer of the subgoal prompt.
    """
    frames = observed_frames(manifest, sample.observation.frames)
    prompt = source.prompts.action(sample.words)
    shared = source.prompts.observation_tokens
    asked = subgoal_text(sample.words) + sample.words + TURN_END
    answer = source.tokenizer.encode(asked)
    start = next_position(prompt.positions[:, :shared])
    state, state_mask = model_state(manifest, sample.observation.state)
    actions, mask = _actions(sample, manifest)
    chunk = prompt.following + np.arange(manifest.horizon)
    return ModelInput(
        patches=torch.from_numpy(
            np.concatenate([patches(frames[n], g) for n, g in manifest.cameras.items()])
        ),
        ids=torch.from_numpy(prompt.ids),
        positions=torch.from_numpy(prompt.positions),
        answer_ids=torch.from_numpy(answer),
        answer_positions=_line(start + np.arange(len(answer))),
        shared=shared,
        state=torch.from_numpy(state),
        state_mask=torch.from_numpy(state_mask),
        actions=torch.from_numpy(actions),
        mask=torch.from_numpy(mask),
        chunk_positions=_line(chunk),
    )


def _actions(sample: Sample, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Normalised actions and their mask ``[horizon, slots]``, as training sees them."""
    embodiment = manifest.embodiment
    relative = embodiment.action_reference == "state"
    offsets = sample.actions - sample.observation.state if relative else sample.actions
    actions, mask = np.zeros((2, manifest.horizon, manifest.action_slots), dtype=np.float32)
    slots = list(embodiment.action_slots)
    actions[:, slots] = embodiment.action.normalize(offsets)
    mask[:, slots] = 1.0
    return actions, mask


def _line(steps: np.ndarray) -> Tensor:
    return torch.from_numpy(np.broadcast_to(steps, (3, len(steps))).copy())
