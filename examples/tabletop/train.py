"""Train the tabletop policy from scripted demonstrations: ``python examples/tabletop/train.py --out DIR``.

Reproducible from ``--seed`` on one machine and version of torch. Data is made on the fly; the result is a
WALL-OSS checkpoint folder. What decides success is written down in the comments below.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from wall_edge_export.model.config import model_shape
from wall_edge_export.model.wall import WallModel

from examples.tabletop.demonstrations import Batch, action_spread, sample_batch
from examples.tabletop.policy_kind import GEOMETRY, KIND, RANGE, tasks
from examples.training.forward import PackedForward, initialise
from examples.training.loop import Optimiser, quick_memory, run
from examples.training.numbers import NumberEmbeddings
from examples.training.packing import NOISES, layout_of
from examples.training.policy_files import (
    PolicyKind,
    model_config,
    normalizers,
    save_checkpoint,
    stored_state,
)
from examples.training.tokenizer import build_tokenizer
from wall_edge.array_types import Floats
from wall_edge.policies.vision import cut
from wall_edge.sim.blocks import COLOURS, TRAIN_STREAM
from wall_edge.sim.tabletop.arm import JOINTS
from wall_edge.sim.tabletop.render import CAMERAS

SPARSE_STEPS = (3, 9, 15, 23)
# Loss weights beside the flow loss. Only one token of an answer is in doubt, its colour, so text weighs more.
LOSSES = ("flow", "text", "image", "target", "sparse")
WEIGHTS = (1.0, 1.0, 0.3, 0.5, 0.5)
# Where the prompt spells the state, one number a joint: the last token is asked for all of them, or it takes
# long to find out which joint each belongs to.
STATE, STATE_WEIGHT = "state", 1.0


class TrainingHeads(nn.Module):
    """Linear heads that ground the features and are dropped at export.

    Without them the flow loss stays for a long time at the mean over the blocks.
    """

    def __init__(self, hidden: int, tokens: int, spelled: bool) -> None:
        super().__init__()
        self.target = nn.Linear(hidden, 2 + len(SPARSE_STEPS) * len(JOINTS))
        self.image = nn.Linear(tokens * hidden, len(COLOURS) * 4)
        self.state = nn.Linear(hidden, len(JOINTS)) if spelled else None


@dataclass
class Tensors:
    """A :class:`Batch` as the loss wants it; actions are relative to the state, in spreads."""

    ids: Tensor
    patches: Tensor
    state: Tensor
    actions: Tensor
    noise: Tensor
    time: Tensor
    target: Tensor
    colours: Tensor


class Trainer:
    """``state_range``: lowest and highest joints, that the normaliser takes to -1 and 1."""

    def __init__(
        self,
        options: argparse.Namespace,
        kind: PolicyKind = KIND,
        state_range: tuple[Floats, Floats] = RANGE,
    ) -> None:
        self.options, self.kind, self.state_range = options, kind, state_range
        torch.manual_seed(options.seed)
        self.rng = np.random.default_rng([TRAIN_STREAM, options.seed])
        self.spread = action_spread(self.rng, 4096)
        self.tokenizer = build_tokenizer(kind, tasks())
        self.config = model_config(kind, self.tokenizer)
        self.layout = layout_of(kind, self.tokenizer, tasks()[0])
        live = torch.ones(kind.slots)
        self.model = WallModel(model_shape(self.config))
        initialise(self.model, live)
        self.numbers: NumberEmbeddings | None = None
        if kind.state_bins is not None:
            self.numbers = NumberEmbeddings(self.layout.tokenizer, kind.state_bins)
            self.numbers.initialise(self.model.model.embed_tokens)
        spelled = self.numbers is not None
        self.loss_names = (*LOSSES, STATE) if spelled else LOSSES
        self.weights = torch.tensor((*WEIGHTS, STATE_WEIGHT) if spelled else WEIGHTS)
        self.heads = TrainingHeads(self.model.shape.hidden_size, len(self.layout.image_places), spelled)
        self.optimiser = Optimiser(self.model, self.heads, options.lr, options.steps)
        self.forward = PackedForward(self.model, self.layout, live)

    def tensors(self, batch: Batch) -> Tensors:
        patches = np.concatenate([cut(batch.frames[camera], GEOMETRY) for camera in CAMERAS], axis=1)
        lower, upper = self.state_range
        state = np.clip(2 * (batch.state - lower) / (upper - lower) - 1, -1, 1)
        actions = (batch.commands - batch.state[:, None]) / self.spread
        size = len(state)
        colours = np.concatenate(
            (batch.colour_present[..., None], batch.colour_touched[..., None], batch.colour_xy), axis=-1
        )
        noise = self.rng.standard_normal((size, NOISES, self.kind.horizon, self.kind.slots))
        return Tensors(
            ids=self.layout.ids(batch.instructions, batch.subgoals, self.kind.said(state)),
            patches=torch.from_numpy(patches),
            state=_float(state),
            actions=_float(actions),
            noise=_float(noise),
            time=_float(0.999 * (1 - self.rng.beta(1.5, 1.0, (size, NOISES)))),
            target=_float(batch.target_xy),
            colours=_float(colours),
        )

    def _losses(self, data: Tensors) -> Tensor:
        """Those of ``loss_names``, each a mean over the batch."""
        layout = self.layout
        time = data.time[..., None, None]
        noisy = (1 - time) * data.noise + time * data.actions[:, None]
        images, hidden, velocity = self.forward(data.ids, data.patches, data.state, noisy, data.time)
        flow = nn.functional.mse_loss(velocity, data.actions[:, None] - data.noise)
        logits = self.model.lm_head(hidden[:, layout.predicts_answer])
        text = nn.functional.cross_entropy(logits.flatten(0, 1), data.ids[:, layout.answer].flatten())
        grounded = self.heads.target(hidden[:, -1])
        target = nn.functional.mse_loss(grounded[:, :2], data.target)
        sparse = nn.functional.mse_loss(grounded[:, 2:], data.actions[:, SPARSE_STEPS].flatten(1))
        losses = [flow, text, self._image_loss(images, data.colours), target, sparse]
        if self.heads.state is not None:
            losses.append(nn.functional.mse_loss(self.heads.state(hidden[:, -1]), data.state))
        return torch.stack(losses)

    def _image_loss(self, images: Tensor, colours: Tensor) -> Tensor:
        outputs = self.heads.image(images.flatten(1)).view(colours.shape)
        present = colours[..., :1]
        presence = nn.functional.binary_cross_entropy_with_logits(outputs[..., :1], present)
        touch = nn.functional.binary_cross_entropy_with_logits(outputs[..., 1:2], colours[..., 1:2])
        place = ((outputs[..., 2:] - colours[..., 2:]).square() * present).mean()
        total: Tensor = presence + touch + place
        return total

    def step(self, number: int) -> Tensor:
        losses = self._losses(self.tensors(sample_batch(self.rng, self.options.batch)))
        self.optimiser.step(number, losses @ self.weights)
        if self.numbers is not None:
            self.numbers.smooth(self.model.model.embed_tokens)
        return losses.detach()

    def save(self) -> None:
        values = normalizers(self.kind.robot, *self.state_range, self.spread)
        state = {**stored_state(self.optimiser.average), **values}
        save_checkpoint(self.options.out, self.config, self.tokenizer, state)


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def train(kind: PolicyKind, state_range: tuple[Floats, Floats], steps: int) -> None:
    """As the command line says; ``steps`` if it does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-every", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    quick_memory()
    trainer = Trainer(options, kind, state_range)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    print(
        f"torch {torch.__version__}, {platform.machine()}, {options.threads} threads; "
        f"{parameters / 1e6:.2f} M parameters, {trainer.layout.length} prompt tokens a sample, "
        f"{len(kind.cameras)} cameras, seed {options.seed}",
        flush=True,
    )
    run(options, trainer.loss_names, trainer.step, trainer.save)


if __name__ == "__main__":
    train(KIND, RANGE, steps=2600)
