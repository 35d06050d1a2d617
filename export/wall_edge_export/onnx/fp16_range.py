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
from wall_edge_export.model.inventory import Weight, inventory
from wall_edge_export.model.layers import AdaptiveRMSNorm, RMSNorm
from wall_edge_export.model.vision import PatchEmbed, VisionBlock
from wall_edge_export.model.wall import WallModel
from wall_edge_export.quantize.precision import ACTIVATIONS, ELEMENT_TYPES, FP16, Recipe

_LARGEST = torch.finfo(torch.float16).max
_RESIDUAL = (VisionBlock, DecoderLayer, RMSNorm, AdaptiveRMSNorm)


@contextmanager
def watched(model: WallModel, recipe: Recipe) -> Iterator[None]:
    """While the block runs, raise :class:`CheckpointError` when something in fp16 leaves its range.

    Watched are products in fp16 (quantised weights' too, where activations are fp16) and the residual: what
    norms take, and blocks give. Attention scores, which are of no module, are not.
    """
    weights, residual = inventory(model), set(_half_residual(model, recipe))
    handles = [
        module.register_forward_hook(_check(name))
        for name, module in model.named_modules()
        if (isinstance(module, (nn.Linear, PatchEmbed)) and _is_half(weights[_weight(name, module)], recipe))
        or module in residual
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _weight(name: str, module: nn.Module) -> str:
    return f"{name}.proj.weight" if isinstance(module, PatchEmbed) else f"{name}.weight"


def _is_half(weight: Weight, recipe: Recipe) -> bool:
    """Whether the product is in fp16, in any graph that the weight is in."""
    for graph in weight.graphs:
        precision = recipe.precision(graph, weight)
        computed = precision if precision in ELEMENT_TYPES else recipe.families(graph)[ACTIVATIONS]
        if computed == FP16:
            return True
    return False


def _half_residual(model: WallModel, recipe: Recipe) -> Iterator[nn.Module]:
    """What takes or gives a residual that is in fp16."""
    for part, families in ((model.visual, recipe.vision), (model.model, recipe.prefix)):
        if families.activations == FP16:
            yield from (module for module in part.modules() if isinstance(module, _RESIDUAL))


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
