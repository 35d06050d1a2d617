"""Whether what a half-precision layer takes and gives fits into half precision.

ONNX Runtime computes half types in float32 on a CPU, so an overflow would first show on the robot's GPU.
Qwen2.5-VL's vision tower is known for activations that large. bfloat16 has float32's range: nothing to watch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from wall_edge.errors import CheckpointError
from wall_edge_export.model.decoder import DecoderLayer
from wall_edge_export.model.layers import RMSNorm
from wall_edge_export.model.vision import PatchEmbed, VisionBlock
from wall_edge_export.onnx.graphs import graphs_of
from wall_edge_export.quantize.precision import ACTIVATIONS, ELEMENT_TYPES, FP16, Recipe, family

_LARGEST = torch.finfo(torch.float16).max


@contextmanager
def watched(model: nn.Module, recipe: Recipe) -> Iterator[None]:
    """While the block runs, raise :class:`CheckpointError` when something in fp16 leaves its range.

    Watched are products in fp16 (quantised weights' too, where activations are fp16) and the residual: what
    norms take, and blocks give. Attention scores, which are of no module, are not.
    """
    handles = [
        module.register_forward_hook(_check(name))
        for name, module in model.named_modules()
        if (isinstance(module, (nn.Linear, PatchEmbed)) and _is_half(_weight(name, module), recipe))
        or (isinstance(module, (VisionBlock, DecoderLayer, RMSNorm)) and _residual_is_half(name, recipe))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _weight(name: str, module: nn.Module) -> str:
    return f"{name}.proj.weight" if isinstance(module, PatchEmbed) else f"{name}.weight"


def _is_half(weight: str, recipe: Recipe) -> bool:
    """Whether the product is in fp16, in any graph that the weight is in."""
    for graph in graphs_of(weight):
        families = recipe.families(graph)
        precision = families.get(family(graph, weight) or "")
        computed = precision if precision in ELEMENT_TYPES else families[ACTIVATIONS]
        if precision is not None and computed == FP16:
            return True
    return False


def _residual_is_half(block: str, recipe: Recipe) -> bool:
    part = recipe.vision if block.startswith("visual.") else recipe.prefix
    return part.activations == FP16


def _check(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor | tuple[Tensor, ...]], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        result = output[0] if isinstance(output, tuple) else output
        largest = max(float(tensor.detach().abs().max()) for tensor in (inputs[0], result))
        if not largest <= _LARGEST:
            raise CheckpointError(
                f"layer {name} reaches {largest:g}",
                expected=f"at most {_LARGEST:g} in fp16",
                fix="use the recipe bf16, or one of your own with bf16 or fp32 here",
            )

    return hook
