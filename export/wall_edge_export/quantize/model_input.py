"""A recorded sample → what the model takes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wall_edge.bundle import Manifest
from wall_edge.policies.encoder import observed_frames
from wall_edge.policies.prompt_text import TURN_END, Ids, next_position, subgoal_text
from wall_edge.policies.state_text import said_state
from wall_edge.policies.transforms import model_state, normalised
from wall_edge.policies.vision import patches
from wall_edge.session_format import Sample
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.quantize.calibrate import Continuation, ModelInput


def model_input(sample: Sample, manifest: Manifest, inputs: ExportInputs) -> ModelInput:
    """Tokenise, normalise and place one sample.

    Its words serve as the action prompt's instruction, and as both question and answer of the subgoal prompt.
    Where actions are words, their tokens follow the action prompt.
    """
    frames = observed_frames(manifest, sample.observation.frames)
    state, state_mask = model_state(manifest, sample.observation.state)
    said = said_state(manifest.embodiment.state, manifest.state_text, sample.observation.state)
    prompt = inputs.prompts.action(sample.words, said)
    shared = inputs.prompts.observation_tokens
    text = subgoal_text(sample.words, manifest.prompt_wording) + sample.words + TURN_END
    answer = inputs.tokenizer.encode(text)
    start = next_position(prompt.positions[:, :shared])
    actions, mask = training_actions(sample, manifest)
    continuations = [_continuation(answer, start, shared)]
    spelled = inputs.actions.spelled(actions[:, sorted(manifest.embodiment.action.slots)])
    if len(spelled):
        continuations.append(_continuation(spelled, prompt.following, len(prompt.ids)))
    chunk = prompt.following + np.arange(manifest.horizon)
    return ModelInput(
        patches=torch.from_numpy(
            np.concatenate([patches(frames[n], g) for n, g in manifest.cameras.items()])
        ),
        ids=torch.from_numpy(prompt.ids),
        positions=torch.from_numpy(prompt.positions),
        continuations=tuple(continuations),
        state=torch.from_numpy(state),
        state_mask=torch.from_numpy(state_mask),
        actions=torch.from_numpy(actions),
        mask=torch.from_numpy(mask),
        chunk_positions=_line(chunk),
    )


def training_actions(sample: Sample, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Normalised actions and their mask ``[horizon, slots]``, as training sees them."""
    slots = list(manifest.embodiment.action.slots)
    width = max(manifest.action_slots, *(slot + 1 for slot in slots))  # no graph of words knows its slots
    actions, mask = np.zeros((2, manifest.horizon, width), dtype=np.float32)
    actions[:, slots] = normalised(manifest, sample.actions, sample.observation.state)
    mask[:, slots] = 1.0
    return actions, mask


def _continuation(ids: Ids, start: int, shared: int) -> Continuation:
    return Continuation(torch.from_numpy(ids), _line(start + np.arange(len(ids))), shared)


def _line(steps: np.ndarray) -> Tensor:
    return torch.from_numpy(np.broadcast_to(steps, (3, len(steps))).copy())
