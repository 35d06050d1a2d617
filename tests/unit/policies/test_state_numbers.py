"""A policy that reads its state as text: every number is one token, and near numbers read alike."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.model.config import model_shape

from examples.tabletop.demonstrations import sample_batch
from examples.tabletop.train import Trainer
from examples.tabletop_05.policy_kind import KIND, RANGE
from examples.training.policy_files import save_checkpoint, stored_state
from examples.training.tokenizer import number_word
from wall_edge.sim.tabletop import arm

CHECKPOINT = Path(__file__).parents[3] / "examples" / "tabletop_05" / "checkpoint"
BINS = 256


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(argparse.Namespace(seed=0, lr=2e-3, steps=1, batch=4), KIND, RANGE)


def test_every_state_costs_one_token_a_joint(trainer: Trainer) -> None:
    layout = trainer.layout
    tokens = {number_word(number): layout.tokenizer.encode(number_word(number)) for number in range(BINS)}
    assert {len(ids) for ids in tokens.values()} == {1}
    assert len({int(ids[0]) for ids in tokens.values()}) == BINS
    # Every number at every joint, whatever stands beside it.
    values = (np.arange(BINS) + 0.5) / BINS * 2 - 1
    states = np.stack([np.roll(values, 41 * joint) for joint in range(KIND.slots)], axis=1)
    ids = layout.ids(
        ["touch the red block, then the blue block."] * BINS,
        ["touch the red block."] * BINS,
        KIND.said(states),
    )
    assert ids.shape == (BINS, layout.length)
    words = [layout.tokenizer.decode(row.tolist()) for row in ids]
    for number, said in enumerate(words):
        spelled = " ".join(str((number - 41 * joint) % BINS) for joint in range(KIND.slots))
        assert f"\nProprioception: {spelled}\n" in said


def test_a_forgotten_state_is_noticed(trainer: Trainer) -> None:
    with pytest.raises(ValueError, match="other token counts"):
        trainer.layout.ids(["touch the red block, then the blue block."], ["touch the red block."])


def test_numbers_stay_on_a_smooth_curve_through_a_step(trainer: Trainer) -> None:
    table = trainer.model.model.embed_tokens
    tokens = np.concatenate([trainer.layout.tokenizer.encode(number_word(n)) for n in range(BINS)])
    before = table.weight[tokens].detach().clone()
    trainer.step(0)
    rows = table.weight[tokens].detach()
    assert (rows - before).abs().max() > 1e-6
    apart = torch.linalg.vector_norm(rows[:, None] - rows, dim=-1)
    near, far = apart.diagonal(1), apart.diagonal(BINS // 2)
    assert float(near.max()) < 0.2 * float(far.min())
    assert near.min() > 0


def test_what_the_joints_use_is_in_range() -> None:
    states = sample_batch(np.random.default_rng(5), 400).state
    assert (states > RANGE[0]).all()
    assert (states < RANGE[1]).all()
    assert (RANGE[1] - RANGE[0] < arm.UPPER - arm.LOWER).all()


def test_a_stored_policy_reads_back_equal(trainer: Trainer, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, trainer.config, trainer.tokenizer, stored_state(trainer.model))
    read = Checkpoint(tmp_path).load()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor), name


def test_the_shipped_checkpoint_is_upstreams_layout_and_small() -> None:
    shape = Checkpoint(CHECKPOINT).shape
    assert shape == model_shape(Checkpoint(CHECKPOINT).config)
    assert shape.family == "wall-oss-0.5"
    assert shape.tied_embeddings
    assert not shape.state_token
    tensors = load_file(CHECKPOINT / "model.safetensors")
    assert "lm_head.weight" not in tensors
    layer = "model.layers.0"
    fused = (
        f"{layer}.self_attn.qkv_proj_experts.1.weight",
        f"{layer}.moe.experts.1.gate_up_proj.weight",
        f"{layer}.input_layernorms.1.weight",
    )
    assert all(name in tensors for name in fused)
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 10_000_000
