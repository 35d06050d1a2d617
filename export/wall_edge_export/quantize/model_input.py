"""A recorded sample → what the model takes."""

from __future__ import annotations

import numpy as np
import torch

from wall_edge.bundle import Manifest
from wall_edge.policies.encoder import observed_frames
from wall_edge.policies.prompt_text import TURN_END, Ids
from wall_edge.policies.prompts import common_front
from wall_edge.policies.state_text import said_state
from wall_edge.policies.transforms import model_state, normalised
from wall_edge.policies.vision import patches
from wall_edge.session_format import Sample
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.quantize.calibrate import Continuation, ModelInput, Placed


def model_input(sample: Sample, manifest: Manifest, inputs: ExportInputs) -> ModelInput:
    """Tokenise, normalise and place one sample: the prompts are those that a robot's policies make of it.

    Its words serve as the action prompt's instruction, and as both question and answer of the subgoal prompt.
    Where actions are words, their tokens follow the action prompt.
    """
    frames = observed_frames(manifest, sample.observation.frames)
    state, state_mask = model_state(manifest, sample.observation.state)
    said = said_state(manifest.embodiment.state, manifest.state_text, sample.observation.state)
    prompt = inputs.prompts.action(sample.words, said)
    actions, mask = training_actions(sample, manifest)
    continuations = [_subgoal(sample.words, inputs)]
    spelled = inputs.actions.spelled(actions[:, sorted(manifest.embodiment.action.slots)])
    if len(spelled):
        placed = _placed(spelled, _following(prompt.following, len(spelled)))
        continuations.append(Continuation(placed.ids, placed.positions, len(prompt.ids)))
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
        chunk_positions=torch.from_numpy(_following(prompt.following, manifest.horizon)),
    )


def training_actions(sample: Sample, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Normalised actions and their mask ``[horizon, slots]``, as training sees them."""
    slots = list(manifest.embodiment.action.slots)
    width = max(manifest.action_slots, *(slot + 1 for slot in slots))  # no graph of words knows its slots
    actions, mask = np.zeros((2, manifest.horizon, width), dtype=np.float32)
    actions[:, slots] = normalised(manifest, sample.actions, sample.observation.state)
    mask[:, slots] = 1.0
    return actions, mask


def _subgoal(words: str, inputs: ExportInputs) -> Continuation:
    """The question for the next sub-task and its answer, behind the observation.

    A system turn that describes the robot is that of action prompts alone (:meth:`Prompts.subgoal`): then
    the question has an observation of its own, as a robot computes its keys/values again.
    """
    prompts, tokenizer = inputs.prompts, inputs.tokenizer
    question, answer = prompts.subgoal(words), tokenizer.encode(words + TURN_END)
    ids = np.concatenate([question.ids, answer])
    places = np.concatenate([question.positions, _following(question.following, len(answer))], axis=1)
    observation, shared = prompts.observation().ids, 1 + int(np.flatnonzero(ids == tokenizer.ids.image)[-1])
    prompt: Placed | None = _placed(ids[:shared], places[:, :shared])
    if (front := common_front(observation, ids, tokenizer.ids)) >= shared:
        prompt, shared = None, front
    rest = _placed(ids[shared:], places[:, shared:])
    return Continuation(rest.ids, rest.positions, shared, prompt)


def _placed(ids: Ids, positions: Ids) -> Placed:
    return Placed(torch.from_numpy(ids), torch.from_numpy(positions))


def _following(start: int, count: int) -> Ids:
    """Positions ``[3, count]`` of text from ``start`` on."""
    steps: Ids = np.broadcast_to(start + np.arange(count), (3, count)).copy()
    return steps
