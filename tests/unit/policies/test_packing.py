"""What the packed training pass computes is what the exported graphs compute, token by token."""

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

from examples.tabletop.demonstrations import sample_batch
from examples.tabletop.policy_kind import GEOMETRY, KIND
from examples.tabletop.train import Tensors, Trainer
from examples.training.packing import NOISES
from wall_edge.policies.prompt_text import (
    action_text,
    next_position,
    observation_text,
    positions,
    subgoal_text,
)

CHECKPOINT = Path(__file__).parents[3] / "examples" / "tabletop" / "checkpoint"
INSTRUCTION, SUBGOAL = "touch the red block, then the blue block.", "touch the blue block."


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    made = Trainer(argparse.Namespace(seed=0, lr=1e-3, steps=1, batch=1))
    made.model.load_state_dict(Checkpoint(CHECKPOINT).load().state_dict())
    return made


@pytest.fixture(scope="module")
def data(trainer: Trainer) -> Tensors:
    batch = sample_batch(np.random.default_rng(3), 1)
    batch.instructions[:], batch.subgoals[:] = [INSTRUCTION], [SUBGOAL]
    return trainer.tensors(batch)


@pytest.fixture(scope="module")
def session(trainer: Trainer, data: Tensors) -> ModelSession:
    ids = trainer.layout.tokenizer.ids
    grids = (GEOMETRY.grid,) * len(KIND.image_tokens)
    engine = ReferenceEngine(trainer.model.eval(), GraphInputs(grids, ids.image, ids.state, KIND.horizon))
    made = ModelSession(engine, capacity=128)
    made.encode_images({"patches": data.patches[0].numpy()})
    return made


def prompt(trainer: Trainer, request: str) -> tuple[np.ndarray, np.ndarray]:
    tokenizer = trainer.layout.tokenizer
    ids = tokenizer.encode(observation_text(KIND.image_tokens) + request)
    return ids, positions(ids, [GEOMETRY.cells for _ in KIND.image_tokens], tokenizer.ids.image)


def test_the_flow_loss(trainer: Trainer, data: Tensors, session: ModelSession) -> None:
    ids, placed = prompt(trainer, action_text(SUBGOAL))
    state = data.state[0].numpy()
    session.prefill(ids, placed, state, np.ones_like(state))
    steps = np.broadcast_to(next_position(placed) + np.arange(KIND.horizon), (3, KIND.horizon))
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
    ids, placed = prompt(trainer, subgoal_text(INSTRUCTION))
    nothing = np.zeros(6, dtype=np.float32)
    session.prefill(ids[:-1], placed[:, :-1], nothing, nothing)
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
