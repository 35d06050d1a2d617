"""Degrees of freedom that a robot lacks: in the later family they go to their padding in a straight line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.model.wall import WallModel

from tests.conftest import CASES

TIME = torch.tensor(0.25)


@pytest.fixture(scope="module")
def model() -> WallModel:
    return Checkpoint(CASES / "w01_state_token").load()


def step(model: WallModel, stage: str) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor]:
    """Mask, results, noise and padding of one step, pulled by guidance in every live degree of freedom."""
    torch.manual_seed(0)
    shape, horizon = model.shape, 10
    mask = torch.ones(horizon, shape.action_dof)
    mask[:, 12:] = 0.0
    noisy, target = torch.randn_like(mask), torch.randn_like(mask)
    padding, past = torch.randn(shape.action_dof), torch.randn(shape.kv_shape(7))
    results = getattr(model, stage)(
        noisy, mask, TIME, torch.tensor(0.1), torch.tensor(2.0), target, mask,
        torch.arange(7, 7 + horizon).expand(3, horizon), past, padding=padding,
    )  # fmt: skip
    return mask, results, noisy, padding


@pytest.mark.parametrize("stage", ["step", "guided_step"])
def test_nothing_takes_them_off_their_way(model: WallModel, stage: str) -> None:
    """The derivative of live actions by dead ones is not 0, and pulled them before."""
    mask, (velocity, *_, following), noisy, padding = step(model, stage)
    dead = mask == 0
    straight = (padding - noisy) / (1 - TIME)
    torch.testing.assert_close(velocity[dead], straight[dead])
    torch.testing.assert_close(following[dead], (noisy + 0.1 * straight)[dead])


def test_live_ones_are_guided(model: WallModel) -> None:
    mask, (_, guidance, _), *_ = step(model, "guided_step")
    assert torch.all(guidance[mask == 0] == 0)
    assert torch.any(guidance[mask > 0] != 0)
