"""Calibration sees the prompts that a robot sends: token for token, at the same positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from wall_edge_engines import ModelSession
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.quantize.model_input import model_input

from wall_edge.bundle import ActionSpace
from wall_edge.config import load_robot
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompt_text import TURN_END, Ids
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.session_format import Sample

EXAMPLES = Path(__file__).parents[3] / "examples"
WORDS = "touch the red block."
SYSTEM = {None: "You are a helpful assistant.", "Rel EEF": "You are an embodied vision-language-action model"}


class RecordingSession:
    """What a session's cache would hold: tokens and their positions. It says scripted words."""

    def __init__(self, answer: Ids) -> None:
        self._answer: Iterator[int] = iter(answer.tolist())
        self.ids, self.positions = np.empty(0, np.int64), np.empty((3, 0), np.int64)
        self.chunk_positions, self.kept = np.empty((3, 0), np.int64), 0
        self.state: tuple[Any, ...] = ()

    def encode_images(self, images: Any) -> None:
        pass

    def prefill(self, ids: Ids, positions: Ids, *state: Any, keep: int = 0) -> None:
        self.ids = np.concatenate([self.ids[:keep], ids])
        self.positions = np.concatenate([self.positions[:, :keep], positions], axis=1)
        self.state, self.kept = state, keep

    def next_token(self) -> tuple[int, bool]:
        return next(self._answer), True

    def append(self, token: int, position: int) -> None:
        self.ids = np.append(self.ids, token)
        self.positions = np.append(self.positions, np.full((3, 1), position), axis=1)

    def velocity(self, noisy: Any, mask: Any, time: float, positions: Ids) -> Any:  # noqa: ARG002
        self.chunk_positions = positions
        return noisy


def opened(example: str, space: ActionSpace | None) -> ExportInputs:
    folder = EXAMPLES / example
    inputs = ExportInputs.open(Checkpoint(folder / "checkpoint"), load_robot(folder / "robot.yaml"))
    return replace(inputs, settings=replace(inputs.settings, action_space=space))


def manifest_of(inputs: ExportInputs) -> Any:
    """What policies and calibration read of a manifest."""
    settings, shape = inputs.settings, inputs.checkpoint.shape
    return SimpleNamespace(
        **{name: getattr(settings, name) for name in ("cameras", "embodiment", "state_text", "horizon")},
        state_slots=shape.state_dof,
        action_slots=shape.action_dof,
        actions=inputs.actions.stored,
    )


def sample_of(inputs: ExportInputs) -> Sample:
    rng, settings = np.random.default_rng(3), inputs.settings
    frames = {
        name: rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in settings.cameras.items()
    }
    state = rng.uniform(-0.3, 0.3, len(settings.embodiment.state))
    actions = rng.uniform(-0.3, 0.3, (settings.horizon, len(settings.embodiment.action)))
    return Sample(Observation(0, frames, state), WORDS, actions)


@pytest.mark.parametrize("example", ["tabletop", "tabletop_05"])
@pytest.mark.parametrize("space", [None, "Rel EEF"])
def test_calibration_sees_the_prompts_that_a_robot_sends(example: str, space: ActionSpace | None) -> None:
    """Subgoals were calibrated behind the system turn that describes the robot: it is the actions' alone."""
    inputs = opened(example, space)
    manifest, sample, tokenizer = manifest_of(inputs), sample_of(inputs), inputs.tokenizer
    seen = model_input(sample, manifest, inputs)

    session = RecordingSession(tokenizer.encode(WORDS + TURN_END))
    encoder = Encoder(manifest, inputs.prompts, cast(ModelSession, session))
    policy = FlowPolicy(encoder)
    policy.observe(sample.observation)
    assert SubgoalPlanner(encoder).words(WORDS) == WORDS
    (subgoal,) = seen.continuations
    front = seen if subgoal.prompt is None else subgoal.prompt
    for part, sent in (("ids", session.ids), ("positions", session.positions)):
        whole = torch.cat([getattr(front, part)[..., : subgoal.shared], getattr(subgoal, part)], dim=-1)
        np.testing.assert_array_equal(whole[..., :-1], sent)  # nothing reads the end of the turn
    assert int(subgoal.ids[-1]) == tokenizer.ids.turn_end
    assert SYSTEM[None] in tokenizer.decode(front.ids.tolist())
    # Behind the action prompt's keys/values just where the robot keeps them.
    assert (subgoal.prompt is None) == (session.kept == inputs.prompts.observation_tokens) == (space is None)

    policy.prefill_text(sample.observation, WORDS, observed=True)
    policy.velocity(np.zeros(seen.actions.shape, np.float32), 0.5)
    np.testing.assert_array_equal(seen.ids, session.ids)
    np.testing.assert_array_equal(seen.positions, session.positions)
    np.testing.assert_array_equal(seen.chunk_positions, session.chunk_positions)
    assert SYSTEM[space] in tokenizer.decode(seen.ids.tolist())
    states: tuple[Tensor, ...] = (seen.state, seen.state_mask) if session.state else ()
    for mine, sent in zip(states, session.state, strict=True):
        np.testing.assert_array_equal(mine, sent)
