"""What the packed training pass computes is what the exported graphs compute, token by token.

Of both generations of the tabletop policy: with a token for the state, and with a prompt that spells it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from wall_edge_engines import ModelSession
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.onnx.graphs import GraphInputs
from wall_edge_export.reference.engine import ReferenceEngine

from examples.tabletop import policy_kind as first
from examples.tabletop.demonstrations import sample_batch
from examples.tabletop.train import Tensors, Trainer
from examples.tabletop_05 import policy_kind as later
from examples.training.packing import NOISES
from wall_edge.policies.prompt_text import (
    action_text,
    next_position,
    observation_text,
    positions,
    subgoal_text,
)

EXAMPLES = Path(__file__).parents[3] / "examples"
POLICIES = {"tabletop": first, "tabletop_05": later}
INSTRUCTION, SUBGOAL = "touch the red block, then the blue block.", "touch the blue block."
SLOTS, CAMERAS = first.KIND.slots, len(first.KIND.cameras)


@pytest.fixture(scope="module", params=POLICIES)
def trainer(request: pytest.FixtureRequest) -> Trainer:
    policy = POLICIES[request.param]
    made = Trainer(argparse.Namespace(seed=0, lr=1e-3, steps=1, batch=1), policy.KIND, policy.RANGE)
    made.model.load_state_dict(Checkpoint(EXAMPLES / request.param / "checkpoint").load().state_dict())
    return made


@pytest.fixture(scope="module")
def data(trainer: Trainer) -> Tensors:
    batch = sample_batch(np.random.default_rng(3), 1)
    batch.instructions[:], batch.subgoals[:] = [INSTRUCTION], [SUBGOAL]
    return trainer.tensors(batch)


@pytest.fixture(scope="module")
def session(trainer: Trainer, data: Tensors) -> ModelSession:
    ids = trainer.layout.tokenizer.ids
    grids = (first.GEOMETRY.grid,) * CAMERAS
    graphs = GraphInputs(grids, ids.image, ids.state, trainer.kind.horizon)
    made = ModelSession(ReferenceEngine(trainer.model.eval(), graphs), capacity=128)
    made.encode_images({"patches": data.patches[0].numpy()})
    return made


def prompt(trainer: Trainer, request: str) -> tuple[np.ndarray, np.ndarray]:
    tokenizer, kind = trainer.layout.tokenizer, trainer.kind
    ids = tokenizer.encode(observation_text(kind.image_tokens, kind.wording) + request)
    return ids, positions(ids, [first.GEOMETRY.cells] * CAMERAS, tokenizer.ids.image)


def test_the_flow_loss(trainer: Trainer, data: Tensors, session: ModelSession) -> None:
    state = data.state[0].numpy()
    spelled = trainer.kind.said(state[None])[0]
    ids, placed = prompt(trainer, action_text(SUBGOAL, trainer.kind.wording, spelled))
    token = (state, np.ones_like(state)) if trainer.model.shape.state_token else ()
    session.prefill(ids, placed, *token)
    steps = np.broadcast_to(
        next_position(placed) + np.arange(trainer.kind.horizon), (3, trainer.kind.horizon)
    )
    actions, errors = data.actions[0].numpy(), []
    for noise, time in zip(data.noise[0].numpy(), data.time[0].numpy(), strict=True):
        noisy = (1 - time) * noise + time * actions
        velocity = session.velocity(noisy, np.ones_like(noisy), float(time), steps)
        errors.append(np.square(velocity - (actions - noise)).mean())
    assert len(errors) == NOISES
    with torch.no_grad():
        packed = float(trainer._losses(data)[0])
    assert np.mean(errors) == pytest.approx(packed, rel=1e-4)


def test_the_text_loss(trainer: Trainer, data: Tensors, session: ModelSession) -> None:
    ids, placed = prompt(trainer, subgoal_text(INSTRUCTION, trainer.kind.wording))
    nothing = np.zeros(SLOTS, dtype=np.float32)
    session.prefill(ids[:-1], placed[:, :-1], *((nothing,) * 2 if trainer.model.shape.state_token else ()))
    answer = [*trainer.layout.tokenizer.encode(SUBGOAL).tolist(), trainer.layout.tokenizer.ids.turn_end]
    losses, token, position = [], int(ids[-1]), int(placed[0, -1])
    for wanted in answer:
        session.append(token, position)
        logits = torch.from_numpy(session.logits())
        losses.append(float(torch.nn.functional.cross_entropy(logits, torch.tensor(wanted))))
        token, position = wanted, position + 1
    with torch.no_grad():
        packed = float(trainer._losses(data)[1])
    assert np.mean(losses) == pytest.approx(packed, rel=1e-3, abs=1e-6)
