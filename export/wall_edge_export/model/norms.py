"""The decoder's norms: one for all tokens, or one an expert, which may depend on the time of the flow."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from wall_edge_export.model.layers import AdaptiveRMSNorm, ByExpert, RMSNorm, fitted
from wall_edge_export.model.shapes import ACTION_EXPERT, ModelShape


class Norms(NamedTuple):
    """What one norm of a decoder is called in the checkpoint, shared by all tokens or one an expert."""

    shared: str
    by_expert: str


INPUT = Norms("input_layernorm", "input_layernorms")
POST_ATTENTION = Norms("post_attention_layernorm", "post_attention_layernorms")
FINAL = Norms("norm", "norms")


def add_norms(module: nn.Module, norms: Norms, shape: ModelShape) -> None:
    """Give the module the shape's norms under their names."""
    if not shape.expert_norms:
        module.add_module(norms.shared, RMSNorm(shape.hidden_size, shape.rms_norm_eps))
        return
    widths = [expert.width for expert in shape.experts]
    parts: list[nn.Module] = [RMSNorm(width, shape.rms_norm_eps) for width in widths]
    if shape.adaptive_norms:
        parts[ACTION_EXPERT] = AdaptiveRMSNorm(widths[ACTION_EXPERT], shape.action_width, shape.rms_norm_eps)
    module.add_module(norms.by_expert, ByExpert(parts))


def normed(
    module: nn.Module, norms: Norms, x: Tensor, expert: int, condition: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The module's norm of ``x [T, W]``, of its expert's channels alone, and the gate of an adaptive one."""
    shared = getattr(module, norms.shared, None)
    norm = getattr(module, norms.by_expert)[expert] if shared is None else shared
    x = fitted(x, norm.width)
    return norm(x, condition) if isinstance(norm, AdaptiveRMSNorm) else (norm(x), None)
