"""Train the tabletop policy from scripted demonstrations: ``python examples/tabletop/train.py --out DIR``.

Reproducible from ``--seed`` on one machine and version of torch. Data is made on the fly; the result is a
WALL-OSS checkpoint folder. What decides success is written down in the comments below.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from wall_edge_export.model.config import model_shape
from wall_edge_export.model.wall import WallModel

from examples.tabletop.demonstrations import Batch, action_spread, sample_batch
from examples.tabletop.packing import NOISES, Layout
from examples.tabletop.policy_files import (
    GEOMETRY,
    HORIZON,
    build_tokenizer,
    image_tokens,
    model_config,
    normalizers,
    save_checkpoint,
)
from wall_edge.policies.prompt_text import PromptTokenizer
from wall_edge.policies.vision import cut
from wall_edge.sim.tabletop.arm import JOINTS, LOWER, UPPER
from wall_edge.sim.tabletop.render import CAMERAS
from wall_edge.sim.tabletop.scene import COLOURS, TRAIN_STREAM

SPARSE_STEPS = (3, 9, 15, 23)
# Loss weights beside the flow loss. Only one token of an answer is in doubt, its colour, so text weighs more.
TEXT, IMAGE, TARGET, SPARSE = 1.0, 0.3, 0.5, 0.5
WARM_UP, CLIP, EMA = 100, 1.0, 0.998


class TrainingHeads(nn.Module):
    """Linear heads that ground the features and are dropped at export.

    Without them the flow loss stays for a long time at the mean over the blocks.
    """

    def __init__(self, hidden: int, tokens: int) -> None:
        super().__init__()
        self.target = nn.Linear(hidden, 2 + len(SPARSE_STEPS) * len(JOINTS))
        self.image = nn.Linear(tokens * hidden, len(COLOURS) * 4)


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
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        torch.manual_seed(options.seed)
        self.rng = np.random.default_rng([TRAIN_STREAM, options.seed])
        self.spread = action_spread(self.rng, 4096)
        self.tokenizer = build_tokenizer()
        self.config = model_config(self.tokenizer)
        self.layout = _layout(self.tokenizer)
        self.model = WallModel(model_shape(self.config))
        _initialise(self.model)
        hidden = self.model.shape.hidden_size
        self.heads = TrainingHeads(hidden, len(self.layout.image_places))
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.parameters = [*self.model.parameters(), *self.heads.parameters()]
        matrices = [p for p in self.parameters if p.dim() > 1]
        vectors = [p for p in self.parameters if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
            lr=options.lr,
            betas=(0.9, 0.95),
            fused=True,
        )

    def tensors(self, batch: Batch) -> Tensors:
        patches = np.concatenate([cut(batch.frames[camera], GEOMETRY) for camera in CAMERAS], axis=1)
        state = 2 * (batch.state - LOWER) / (UPPER - LOWER) - 1
        actions = (batch.commands - batch.state[:, None]) / self.spread
        size = len(state)
        colours = np.concatenate(
            (batch.colour_present[..., None], batch.colour_touched[..., None], batch.colour_xy), axis=-1
        )
        noise = self.rng.standard_normal((size, NOISES, HORIZON, len(JOINTS)))
        return Tensors(
            ids=self.layout.ids(batch.instructions, batch.subgoals),
            patches=torch.from_numpy(patches),
            state=_float(np.clip(state, -1, 1)),
            actions=_float(actions),
            noise=_float(noise),
            time=_float(0.999 * (1 - self.rng.beta(1.5, 1.0, (size, NOISES)))),
            target=_float(batch.target_xy),
            colours=_float(colours),
        )

    def _losses(self, data: Tensors) -> Tensor:
        """``[flow, text, image, target, sparse]``, each a mean over the batch."""
        model, layout = self.model, self.layout
        grids = [GEOMETRY.grid] * len(CAMERAS)
        images = vmap(lambda patches: model.visual(patches, grids))(data.patches)
        x = model.model.embed_tokens(data.ids)
        x = torch.cat((x[:, : layout.first_image], self._views(x, images)), dim=1)
        state = model.action_preprocessor.embed_state(data.state, torch.ones_like(data.state))
        is_state = (data.ids == layout.tokenizer.ids.state).unsqueeze(-1)
        x = torch.where(is_state, state[:, None], x)
        hidden, cache = vmap(lambda tokens: model.model(tokens, layout.positions, layout.bias))(x)

        time = data.time[..., None, None]
        noisy = (1 - time) * data.noise + time * data.actions[:, None]
        chunks = model.action_preprocessor.embed_action(noisy, torch.ones_like(noisy), data.time)
        hidden_actions = vmap(self._chunks)(chunks, cache.index_select(1, layout.action_branch))
        velocity = model.action_preprocessor.action_proj_back(hidden_actions)
        flow = nn.functional.mse_loss(velocity, data.actions[:, None] - data.noise)
        logits = model.lm_head(hidden[:, layout.predicts_answer])
        text = nn.functional.cross_entropy(logits.flatten(0, 1), data.ids[:, layout.answer].flatten())
        grounded = self.heads.target(hidden[:, -1])
        target = nn.functional.mse_loss(grounded[:, :2], data.target)
        sparse = nn.functional.mse_loss(grounded[:, 2:], data.actions[:, SPARSE_STEPS].flatten(1))
        return torch.stack((flow, text, self._image_loss(images, data.colours), target, sparse))

    def _chunks(self, chunks: Tensor, past: Tensor) -> Tensor:
        """Hidden states ``[NOISES, HORIZON, H]`` of one observation's noisy chunks behind its keys/values."""

        def chunk(tokens: Tensor) -> Tensor:
            positions = self.layout.chunk_positions
            return self.model.model(tokens, positions, None, n_action=HORIZON, past=past)[0]

        hidden: Tensor = vmap(chunk)(chunks)
        return hidden

    def _views(self, x: Tensor, images: Tensor) -> Tensor:
        """Embeddings from the first image token on, with the pads replaced by image tokens."""
        rest = x[:, self.layout.first_image :]
        place = self.layout.image_places.view(1, -1, 1).expand(len(x), -1, x.shape[-1])
        return rest.scatter(1, place, images)

    def _image_loss(self, images: Tensor, colours: Tensor) -> Tensor:
        outputs = self.heads.image(images.flatten(1)).view(colours.shape)
        present = colours[..., :1]
        presence = nn.functional.binary_cross_entropy_with_logits(outputs[..., :1], present)
        touch = nn.functional.binary_cross_entropy_with_logits(outputs[..., 1:2], colours[..., 1:2])
        place = ((outputs[..., 2:] - colours[..., 2:]).square() * present).mean()
        return presence + touch + place

    def rate(self, step: int) -> float:
        """Learning rate: warm-up, then a cosine down to 2 %."""
        if step < WARM_UP:
            return float(self.options.lr * (step + 1) / WARM_UP)
        share = (step - WARM_UP) / max(1, self.options.steps - WARM_UP)
        return float(self.options.lr * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share))))

    def step(self, number: int) -> Tensor:
        data = self.tensors(sample_batch(self.rng, self.options.batch))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(number)
        losses = self._losses(data)
        flow, text, image, target, sparse = losses
        self.optimizer.zero_grad(set_to_none=True)
        (flow + TEXT * text + IMAGE * image + TARGET * target + SPARSE * sparse).backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        decay = min(EMA, (1 + number) / (10 + number))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, 1 - decay)
        return losses.detach()

    def save(self) -> None:
        state = {**self.average.state_dict(), **normalizers(self.spread)}
        save_checkpoint(self.options.out, self.config, self.tokenizer, state)


def _layout(tokenizer: object) -> Layout:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save(str(path))  # type: ignore[attr-defined]
        prompts = PromptTokenizer(path)
    return Layout(prompts, "touch the red block, then the blue block.", "touch the red block.")


def _initialise(model: WallModel) -> None:
    """Small normal matrices; what writes to the residual stream smaller still, by depth."""
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            continue
        fan_in = parameter[0].numel()
        scale = min(0.06, fan_in**-0.5)
        if name.endswith(("o_proj.weight", "down_proj.weight", "attn.proj.weight")):
            scale /= (2 * model.shape.num_layers) ** 0.5
        nn.init.normal_(parameter, std=0.02 if "embed_tokens" in name or "lm_head" in name else scale)


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-every", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # glibc gives every large tensor back to the kernel and asks for it again: half a step's time.
    ctypes.CDLL(None).mallopt(-4, 0)
    trainer = Trainer(options)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    print(
        f"torch {torch.__version__}, {platform.machine()}, {options.threads} threads; "
        f"{parameters / 1e6:.2f} M parameters, {trainer.layout.length} prompt tokens a sample, "
        f"{len(image_tokens())} cameras, seed {options.seed}",
        flush=True,
    )
    start, recent = time.monotonic(), []
    for number in range(options.steps):
        recent.append(trainer.step(number))
        if (number + 1) % options.log_every == 0 or number + 1 == options.steps:
            means = torch.stack(recent).mean(0).tolist()
            names = ("flow", "text", "image", "target", "sparse")
            line = "  ".join(f"{name} {value:.4f}" for name, value in zip(names, means, strict=True))
            spent = time.monotonic() - start
            print(f"step {number + 1:5d}  {spent:6.0f} s  {line}", flush=True)
            recent = []
        if (number + 1) % 500 == 0:
            trainer.save()
    trainer.save()
    print(f"saved {options.out} after {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
