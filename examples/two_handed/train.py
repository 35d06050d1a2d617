"""Train the two-handed policy from scripted demonstrations: ``python examples/two_handed/train.py --out
DIR``.

In pose space: no joints, no inverse kinematics. Data is made on the fly; the result is a WALL-OSS checkpoint
folder. What decides success is written down in the comments below and in README.md.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from wall_edge_export.model.config import model_shape
from wall_edge_export.model.wall import WallModel

from examples.training.forward import PackedForward, initialise
from examples.training.loop import Optimiser, quick_memory, run
from examples.training.packing import NOISES, Layout, layout_of
from examples.training.policy_files import model_config, normalizers, save_checkpoint, stored_state
from examples.training.tokenizer import build_tokenizer
from examples.two_handed.demonstrations import CELLS, LOWER, UPPER, Batch, action_spread, sample_batch
from examples.two_handed.policy_kind import KIND, LIVE, padded, tasks
from wall_edge.policies.vision import cut
from wall_edge.sim.blocks import COLOURS, TRAIN_STREAM

SPARSE_STEPS = (3, 10, 19, 31)
LOSSES = ("flow", "text", "image", "cell", "place", "target", "sparse")
# "place" decides it: the position of the block that each colour word means, asked of that very token. Without
# it the blocks are never told apart; a loss at the last token alone asks for two hops at once.
WEIGHTS = torch.tensor([1.0, 1.0, 0.3, 0.3, 1.0, 0.5, 0.5])


class TrainingHeads(nn.Module):
    """Linear heads that ground the features and are dropped at export."""

    def __init__(self, hidden: int, tokens: int) -> None:
        super().__init__()
        self.target = nn.Linear(hidden, 2 + len(SPARSE_STEPS) * LIVE)
        self.image = nn.Linear(tokens * hidden, len(COLOURS) * 4)
        self.cell = nn.Linear(hidden, len(COLOURS) * 4)
        self.place = nn.Linear(hidden, 2)


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
    words: Tensor
    colours: Tensor
    cells: Tensor


class Trainer:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        torch.manual_seed(options.seed)
        self.rng = np.random.default_rng([TRAIN_STREAM, options.seed])
        self.spread = action_spread(self.rng)
        self.tokenizer = build_tokenizer(KIND, tasks())
        self.config = model_config(KIND, self.tokenizer)
        self.layout = layout_of(KIND, self.tokenizer, tasks()[0])
        self.colour_places = _colour_places(self.layout)
        self.live = torch.from_numpy(padded(np.ones(LIVE), 0.0)).float()
        self.model = WallModel(model_shape(self.config))
        initialise(self.model, self.live)
        self.heads = TrainingHeads(self.model.shape.hidden_size, len(self.layout.image_places))
        self.optimiser = Optimiser(self.model, self.heads, options.lr, options.steps)
        self.forward = PackedForward(self.model, self.layout, self.live)
        self.losses = torch.compile(self._losses) if options.compile else self._losses

    def tensors(self, batch: Batch) -> Tensors:
        frames = [cut(batch.frames[camera], geometry) for camera, geometry in KIND.cameras.items()]
        size = len(batch.state)
        state = 2 * (batch.state - LOWER) / (UPPER - LOWER) - 1
        done = np.array([subgoal.split()[2] for subgoal in batch.subgoals])
        first = np.array([instruction.split()[2] for instruction in batch.instructions])
        current = np.where((done == first)[:, None], batch.word_xy[:, 0], batch.word_xy[:, 1])
        # In the order of the colour words: two in the instruction, one in the answer, one in the action
        # prompt.
        words = np.concatenate((batch.word_xy, current[:, None], current[:, None]), axis=1)
        noise = self.rng.standard_normal((size, NOISES, KIND.horizon, KIND.slots))
        return Tensors(
            ids=self.layout.ids(batch.instructions, batch.subgoals),
            patches=torch.from_numpy(np.concatenate(frames, axis=1)),
            state=_float(padded(np.clip(state, -1, 1), 0.0)),
            actions=_float(padded(batch.actions / self.spread, 0.0)),
            noise=_float(noise),
            time=_float(0.999 * (1 - self.rng.beta(1.5, 1.0, (size, NOISES)))),
            target=_float(batch.target_xy),
            words=_float(words),
            colours=_float(batch.colours),
            cells=_float(batch.cells),
        )

    def _losses(self, data: Tensors) -> Tensor:
        """:data:`LOSSES`, each a mean over the batch."""
        layout, heads = self.layout, self.heads
        time = data.time[..., None, None]
        noisy = (1 - time) * data.noise + time * data.actions[:, None]
        images, hidden, velocity = self.forward(data.ids, data.patches, data.state, noisy, data.time)
        wanted = data.actions[:, None] - data.noise
        # As upstream: dead slots are not in the loss.
        flow = nn.functional.mse_loss(velocity[..., :LIVE].float(), wanted[..., :LIVE])
        logits = self.model.lm_head(hidden[:, layout.predicts_answer]).float()
        text = nn.functional.cross_entropy(logits.flatten(0, 1), data.ids[:, layout.answer].flatten())
        image = _seen_loss(heads.image(images.flatten(1)).float(), data.colours)
        cell = _seen_loss(heads.cell(images[:, :CELLS]).float(), data.cells) * CELLS / 2
        place = nn.functional.mse_loss(heads.place(hidden[:, self.colour_places]).float(), data.words)
        grounded = heads.target(hidden[:, -1]).float()
        target = nn.functional.mse_loss(grounded[:, :2], data.target)
        moves = data.actions[:, SPARSE_STEPS, :LIVE].flatten(1)
        sparse = nn.functional.mse_loss(grounded[:, 2:], moves)
        return torch.stack((flow, text, image, cell, place, target, sparse))

    def step(self, number: int) -> Tensor:
        data = self.tensors(sample_batch(self.rng, self.options.batch))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bfloat16):
            losses: Tensor = self.losses(data)
        self.optimiser.step(number, losses @ WEIGHTS)
        return losses.detach()

    def save(self) -> None:
        # Of what this robot has not, upstream normalises 0: to the 0 that this training has there.
        lower, upper, spread = padded(LOWER, -1.0), padded(UPPER, 1.0), padded(self.spread, 1.0)
        state = {**stored_state(self.optimiser.average), **normalizers(KIND.robot, lower, upper, spread)}
        save_checkpoint(self.options.out, self.config, self.tokenizer, state)


def _seen_loss(outputs: Tensor, truth: Tensor) -> Tensor:
    """Of (present, touched, x, y) [..., 5, 4]: both flags, and the place where it is present."""
    outputs = outputs.view(truth.shape)
    present, loss = truth[..., :1], nn.functional.binary_cross_entropy_with_logits
    place = ((outputs[..., 2:] - truth[..., 2:]).square() * present).mean()
    return loss(outputs[..., :1], present) + loss(outputs[..., 1:2], truth[..., 1:2]) + place


def _colour_places(layout: Layout) -> Tensor:
    """Where the colour words stand in the sequence: two in the instruction, one each in answer and action."""
    instruction, subgoal = tasks()[0]
    ids = layout.ids([instruction], [subgoal])[0].numpy()
    colours = [layout.tokenizer.encode(f" {colour}") for colour in COLOURS]
    if any(len(tokens) != 1 for tokens in colours):
        raise ValueError(f"colours of {[len(tokens) for tokens in colours]} tokens, expected one each")
    places: npt.NDArray[np.int64] = np.flatnonzero(np.isin(ids, np.concatenate(colours)))
    return torch.from_numpy(places)


def _float(values: npt.ArrayLike) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    return parser


def main() -> None:
    chosen = options().parse_args()
    torch.set_num_threads(chosen.threads)
    quick_memory()
    trainer = Trainer(chosen)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    print(
        f"torch {torch.__version__}, {platform.machine()}, {chosen.threads} threads; "
        f"{parameters / 1e6:.2f} M parameters, {trainer.layout.length} prompt tokens a sample, "
        f"{len(KIND.cameras)} cameras, seed {chosen.seed}",
        flush=True,
    )
    run(chosen, LOSSES, trainer.step, trainer.save)


if __name__ == "__main__":
    main()
