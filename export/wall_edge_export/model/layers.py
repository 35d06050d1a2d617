"""Arithmetic shared by the vision tower and the decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MASKED = -3e4
"""The score of what may not be seen: nothing beside any other score, and within every half type."""


class ByExpert(nn.ModuleList):
    """One module an expert: the token's type picks, no router."""


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis, in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.width, self.eps = width, eps

    def forward(self, x: Tensor) -> Tensor:
        return (_unit(x.float(), self.eps) * self.weight).to(x.dtype)


class AdaptiveRMSNorm(nn.Module):
    """Root-mean-square normalisation whose scale and shift depend on a condition, in float32.

    It also gives the gate of the layer behind it (Peebles and Xie, arXiv 2212.09748). The product that makes
    the three is in the type of the stream: as many weights as half of the expert's, read in every step.
    """

    def __init__(self, width: int, condition: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(condition, 3 * width)
        self.width, self.eps = width, eps

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """``x [T, W]`` under ``condition [C]`` → the same, and the gate ``[1, W]``."""
        # A row and not a vector: one matrix product, as any other linear layer's.
        scale, shift, gate = self.dense(condition.unsqueeze(0)).unflatten(-1, (3, -1)).unbind(-2)
        return (_unit(x.float(), self.eps) * (1 + scale.float()) + shift.float()).to(x.dtype), gate


def _unit(x: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def fitted(x: Tensor, width: int) -> Tensor:
    """The first ``width`` channels of ``x``, with zeros behind them where it has fewer."""
    rest = width - x.shape[-1]
    if rest == 0:
        return x
    return nn.functional.pad(x, (0, rest)) if rest > 0 else x[..., :width]


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) · up(x))``."""

    def __init__(self, width: int, intermediate: int, *, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, intermediate, bias=bias)
        self.up_proj = nn.Linear(width, intermediate, bias=bias)
        self.down_proj = nn.Linear(intermediate, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding in the half-split form: ``x·cos + (-x₂, x₁)·sin``.

    ``x`` is ``[..., d]``; ``cos`` and ``sin`` broadcast against it.
    """
    half = x.shape[-1] // 2  # slices: a chunk would become ONNX sequence operators, which TensorRT lacks
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention in plain operators, in the form that TensorRT makes one kernel of.

    ``q [B, heads, Q, d]`` scaled already, ``k, v [B, heads, K, d]``; ``bias`` is added to the scores.
    Four axes and half types: with three, or in float32, TensorRT fuses nothing.
    """
    scores = (q @ k.transpose(-1, -2)).float()
    if bias is not None:
        scores = scores + bias
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v


def additive(mask: Tensor) -> Tensor:
    """What is added to the attention scores for a ``mask`` that is true where a token may look."""
    return torch.where(mask, 0.0, MASKED)
