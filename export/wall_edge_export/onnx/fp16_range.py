"""Whether what a half-precision layer sees and says fits into half precision.

ONNX Runtime computes half-precision products in float32 on a CPU, so an overflow would first show on the
robot's GPU. Qwen2.5-VL's vision tower is known for activations that large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from wall_edge.errors import CheckpointError
from wall_edge_export.onnx.graphs import graphs_of
from wall_edge_export.quantize.precision import FP16, Recipe, family

_LARGEST = torch.finfo(torch.float16).max


@contextmanager
def watched(model: nn.Module, recipe: Recipe) -> Iterator[None]:
    """While the block runs, raise :class:`CheckpointError` when an fp16 layer leaves the range of half."""
    handles = [
        module.register_forward_hook(_check(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and _is_half(f"{name}.weight", recipe)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_half(weight: str, recipe: Recipe) -> bool:
    layers = [(graph, family(graph, weight)) for graph in graphs_of(weight)]
    return any(layer is not None and recipe.families(graph)[layer] == FP16 for graph, layer in layers)


def _check(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        largest = max(float(tensor.detach().abs().max()) for tensor in (inputs[0], output))
        if not largest <= _LARGEST:
            raise CheckpointError(
                f"layer {name} reaches {largest:g}",
                expected=f"at most {_LARGEST:g} in fp16",
                fix="use a recipe that keeps this layer family in fp32",
            )

    return hook
