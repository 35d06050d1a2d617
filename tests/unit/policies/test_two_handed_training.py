"""The two-handed trainer: what it asks of which token, and that dead slots are dead."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from examples.two_handed.demonstrations import LOWER, UPPER, sample_batch
from examples.two_handed.policy_kind import DOF, KIND, LIVE, padded
from examples.two_handed.train import LOSSES, Tensors, Trainer, options
from wall_edge.sim.blocks import COLOURS

CHECKPOINT = Path(__file__).parents[3] / "examples" / "two_handed" / "checkpoint"


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(options().parse_args(["--out", "unused", "--no-compile", "--no-bfloat16", "--batch", "2"]))


@pytest.fixture(scope="module")
def data(trainer: Trainer) -> Tensors:
    return trainer.tensors(sample_batch(np.random.default_rng(0), 6))


def test_the_slots_are_upstreams() -> None:
    assert sum(DOF.values()) == KIND.slots == 20
    assert list(DOF)[:3] == ["follow_left_ee_cartesian_pos", "follow_left_ee_rotation", "follow_left_gripper"]
    assert sum(list(DOF.values())[:6]) == LIVE
    np.testing.assert_array_equal(padded(np.ones((2, LIVE)), 0.5)[0], [1.0] * 14 + [0.5] * 6)


def test_every_colour_word_is_asked_for_its_own_blocks_place(trainer: Trainer, data: Tensors) -> None:
    batch = sample_batch(np.random.default_rng(0), 6)
    words = [f" {colour}" for colour in COLOURS]
    for row, ids in enumerate(data.ids):
        said = [trainer.layout.tokenizer.decode([int(token)]) for token in ids[trainer.colour_places]]
        assert all(f" {word}" in words for word in said)
        for word, place in zip(said, data.words[row], strict=True):
            np.testing.assert_allclose(place, batch.colours[row, COLOURS.index(word), 2:], atol=1e-6)


def test_all_losses_are_finite_and_reach_every_weight(trainer: Trainer, data: Tensors) -> None:
    losses = trainer.losses(data)
    assert losses.shape == (len(LOSSES),)
    assert torch.isfinite(losses).all()
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in (*trainer.model.parameters(), *trainer.heads.parameters()))


def test_dead_slots_change_nothing_and_are_not_moved(trainer: Trainer, data: Tensors) -> None:
    generator = torch.Generator().manual_seed(0)
    forward = trainer.forward
    with torch.no_grad():
        images = forward.images(data.patches)
        answers = []
        for _ in range(2):
            state, noisy = data.state.clone(), data.noise.clone()
            state[..., LIVE:] = torch.randn(state[..., LIVE:].shape, generator=generator)
            noisy[..., LIVE:] = torch.randn(noisy[..., LIVE:].shape, generator=generator)
            cache = forward.prefix(data.ids, images, state)[1]
            answers.append(forward.velocity(cache, noisy, data.time))
    assert torch.equal(*answers)
    assert not answers[0][..., LIVE:].any()
    assert answers[0][..., :LIVE].abs().max() > 0


def test_the_shipped_checkpoint_is_upstreams_layout_and_small() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    assert config["dof_config"] == config["agent_pos_config"] == DOF
    assert list(config["dof_config"]) == list(DOF)
    assert list(config["wall_edge"]["cameras"]) == ["face_view", "left_wrist_view", "right_wrist_view"]
    weights = CHECKPOINT / "model.safetensors"
    assert weights.stat().st_size <= 12_000_000
    with safe_open(weights, "pt") as tensors:  # type: ignore[no-untyped-call]
        head, robot = "action_preprocessor", KIND.robot
        lower = tensors.get_tensor(f"{head}.normalizer_propri.min.{robot}").numpy()
        delta = tensors.get_tensor(f"{head}.normalizer_propri.delta.{robot}").numpy()
        np.testing.assert_allclose(lower, padded(LOWER, -1.0), atol=1e-6)
        np.testing.assert_allclose(delta, padded(UPPER - LOWER, 2.0), atol=1e-6)
        # A dead slot is zero wherever the model reads or writes it, whatever is in it.
        dead = [*range(14, 20), *range(34, 40)]
        assert not tensors.get_tensor(f"{head}.w1.weight")[:, dead].any()
        assert not tensors.get_tensor(f"{head}.propri_proj.weight")[:, dead].any()
        assert not tensors.get_tensor(f"{head}.action_proj_back.weight")[LIVE:].any()
