"""What every trainer does round its loss: AdamW, the learning rate's course, averaged weights, a log."""

from __future__ import annotations

import argparse
import copy
import ctypes
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from wall_edge_export.model.wall import WallModel

WARM_UP, CLIP, EMA = 100, 1.0, 0.998
_SAVE_EVERY = 250


class Optimiser:
    """Steps the model and the training heads; ``average`` is the model with averaged weights."""

    def __init__(self, model: WallModel, heads: nn.Module, peak_rate: float, steps: int) -> None:
        self._model, self._peak, self._steps = model, peak_rate, steps
        self.average = copy.deepcopy(model).requires_grad_(False)
        self._parameters = [*model.parameters(), *heads.parameters()]
        matrices = [p for p in self._parameters if p.dim() > 1]
        vectors = [p for p in self._parameters if p.dim() <= 1]
        self._adam = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
            lr=peak_rate,
            betas=(0.9, 0.95),
            fused=True,
        )

    def rate(self, step: int) -> float:
        """Learning rate: warm-up, then a cosine down to 2 %."""
        if step < WARM_UP:
            return self._peak * (step + 1) / WARM_UP
        share = (step - WARM_UP) / max(1, self._steps - WARM_UP)
        return float(self._peak * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share))))

    def step(self, number: int, loss: Tensor) -> None:
        """Step ``number`` down the gradient of ``loss``."""
        for group in self._adam.param_groups:
            group["lr"] = self.rate(number)
        self._adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, CLIP)
        self._adam.step()
        decay = min(EMA, (1 + number) / (10 + number))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self._model.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, 1 - decay)


def quick_memory() -> None:
    """glibc gives every large tensor back to the kernel and asks for it again: half a step's time."""
    ctypes.CDLL(None).mallopt(-4, 0)


def run(
    options: argparse.Namespace,
    names: Sequence[str],
    step: Callable[[int], Tensor],
    save: Callable[[], None],
) -> None:
    """All steps, each of which returns losses with these ``names``; saves now and then, so that a stop loses
    little."""
    start, recent = time.monotonic(), []
    for number in range(options.steps):
        recent.append(step(number))
        last = number + 1 == options.steps
        if (number + 1) % options.log_every == 0 or last:
            means = torch.stack(recent).mean(0).tolist()
            line = "  ".join(f"{name} {value:.4f}" for name, value in zip(names, means, strict=True))
            spent = time.monotonic() - start
            print(f"step {number + 1:5d}  {spent:6.0f} s  {line}", flush=True)
            recent = []
        if (number + 1) % _SAVE_EVERY == 0 or last:
            save()
    print(f"saved {options.out} after {time.monotonic() - start:.0f} s", flush=True)
