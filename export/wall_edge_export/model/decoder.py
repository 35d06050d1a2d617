"""The Qwen2.5 decoder with hard-routed experts.

A token's type picks its expert: 0 for text, image and state tokens, 1 for action tokens. Each has an MLP of
its own, in later checkpoints also projections and norms (:class:`ModelShape`); one softmax goes over all
tokens. Nothing in the prefix depends on the action tokens, so a pass is over tokens of one expert, and the
prefix's keys and values are computed once and handed over in one tensor ``[tokens, layers, 2, kv heads, head
dim]``: token-major, so that a cache grows in place and a shared prefix is forked by its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wall_edge_export.model.layers import ByExpert, SwiGLU, attend, fitted, rotate
from wall_edge_export.model.norms import FINAL, INPUT, POST_ATTENTION, add_norms, normed
from wall_edge_export.model.shapes import TEXT_EXPERT, ModelShape


class Rotary(NamedTuple):
    """Cosine and sine ``[T, 1, head_dim]`` of some tokens' positions."""

    cos: Tensor
    sin: Tensor

    def last(self) -> Rotary:
        """Those of the last token."""
        return Rotary(self.cos[-1:], self.sin[-1:])


class Tokens(NamedTuple):
    """Tokens of one expert on their way through the layers."""

    x: Tensor
    """The residual stream ``[T, W]``."""
    rotary: Rotary
    bias: Tensor | None
    """``[T, P + T]``, added to the attention scores; None where every token sees every other."""
    expert: int
    condition: Tensor | None
    """``[C]`` in the stream's type, of adaptive norms."""


class MultimodalRotary(nn.Module):
    """Rotary angles whose frequencies are shared out over (time, height, width) positions."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.frequencies, self.theta = shape.head_dim // 2, shape.rope_theta
        self.axes = [axis for axis, count in enumerate(shape.mrope_section) for _ in range(count)]

    def forward(self, positions: Tensor) -> Rotary:
        """``positions [3, T]`` → cosine and sine ``[T, 1, head_dim]``."""
        steps = torch.arange(self.frequencies, dtype=torch.float32)
        frequencies = 1.0 / self.theta ** (steps / self.frequencies)
        chosen = positions.float().index_select(0, torch.tensor(self.axes)).T
        angles = chosen * frequencies
        angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
        return Rotary(angles.cos(), angles.sin())


class Attention(nn.Module):
    """Projections of all tokens (``q_proj``), or of each expert's (``q_proj_experts``)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.num_heads, shape.num_kv_heads, shape.head_dim
        self._by_expert = shape.expert_attention
        widths = [expert.width for expert in shape.experts] if self._by_expert else [shape.hidden_size]
        inner, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        for name, size in (("q", inner), ("k", kv), ("v", kv)):
            self._add(name, [nn.Linear(width, size) for width in widths])
        self._add("o", [nn.Linear(inner, width, bias=False) for width in widths])

    def _add(self, name: str, projections: Sequence[nn.Linear]) -> None:
        if self._by_expert:
            self.add_module(f"{name}_proj_experts", ByExpert(projections))
        else:
            self.add_module(f"{name}_proj", projections[0])

    def _projection(self, name: str, expert: int) -> nn.Linear:
        projection = getattr(self, f"{name}_proj_experts" if self._by_expert else f"{name}_proj")
        chosen = projection[expert] if self._by_expert else projection
        assert isinstance(chosen, nn.Linear)
        return chosen

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        bias: Tensor | None,
        past: Tensor | None,
        *,
        expert: int = TEXT_EXPERT,
        last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """``x [T, W]``, ``past [P, 2, kv, d]`` → output ``[T, O]`` and the new keys/values ``[T, 2, kv, d]``.

        Projections read as many channels as they are wide, zeros where ``x`` has fewer, and write as many.
        ``bias [T, P + T]`` is added to the scores. With ``last``, only the last token asks and the output is
        ``[1, O]``.
        """
        q_proj, k_proj, v_proj, o_proj = (self._projection(name, expert) for name in "qkvo")
        channels = fitted(x, k_proj.in_features)
        asking, turn = (channels[-1:], rotary.last()) if last else (channels, rotary)
        q = (rotate(self._split(q_proj(asking)), *turn) * self.head_dim**-0.5).to(x.dtype)
        k = rotate(self._split(k_proj(channels)), *rotary).to(x.dtype)
        new = torch.stack((k, self._split(v_proj(channels))), dim=1)
        visible = new if past is None else torch.cat((past, new))
        keys, values = (self._repeated(visible.select(1, part)) for part in (0, 1))
        asking_bias = bias[-1:] if last and bias is not None else bias
        out = attend(q.transpose(0, 1).unsqueeze(0), keys, values, asking_bias)
        return o_proj(out.transpose(1, 2).flatten(2)[0]), new

    def _repeated(self, x: Tensor) -> Tensor:
        """``[S, kv, d]`` → ``[1, heads, S, d]``: a key head once for each query head that reads it.

        TensorRT's fused attention reads the one head again and copies nothing.
        """
        group = self.heads // self.kv_heads
        return x.transpose(0, 1).unsqueeze(1).expand(-1, group, -1, -1).flatten(0, 1).unsqueeze(0)

    def _split(self, x: Tensor) -> Tensor:
        """``[T, heads · d]`` → ``[T, heads, d]``."""
        split: Tensor = x.unflatten(-1, (-1, self.head_dim))
        return split


class HardRoutedExperts(nn.Module):
    """The token's type picks the MLP, which reads and writes the first of the hidden state's channels."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.experts = ByExpert(
            [SwiGLU(expert.width, expert.intermediate_size, bias=False) for expert in shape.experts]
        )
        self._widths = [expert.width for expert in shape.experts]

    def forward(self, x: Tensor, expert: int) -> Tensor:
        out: Tensor = self.experts[expert](fitted(x, self._widths[expert]))
        return out


def _added(x: Tensor, out: Tensor, gate: Tensor | None) -> Tensor:
    """The residual stream ``x [T, W]`` and what a sub-layer says, which may have fewer channels.

    A gate has as many as the norms of its expert, which never read the channels behind them.
    """
    out = out if gate is None else fitted(out, gate.shape[-1]) * gate
    return x + fitted(out, x.shape[-1])


class DecoderLayer(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.moe = HardRoutedExperts(shape)
        add_norms(self, INPUT, shape)
        add_norms(self, POST_ATTENTION, shape)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        bias: Tensor | None,
        past: Tensor | None,
        *,
        expert: int = TEXT_EXPERT,
        condition: Tensor | None = None,
        last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        inner, gate = normed(self, INPUT, x, expert, condition)
        attended, new = self.self_attn(inner, rotary, bias, past, expert=expert, last=last)
        x = _added(x[..., -1:, :] if last else x, attended, gate)
        inner, gate = normed(self, POST_ATTENTION, x, expert, condition)
        return _added(x, self.moe(inner, expert), gate), new


class Decoder(nn.Module):
    """Token embeddings → final hidden states, with the keys/values of the tokens that went in.

    A pass is :meth:`tokens`, :meth:`layer` by layer, :meth:`hidden`; calibration takes many sequences through
    one layer before the next.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList([DecoderLayer(shape) for _ in range(shape.num_layers)])
        add_norms(self, FINAL, shape)
        self.rotary = MultimodalRotary(shape)

    def tokens(
        self,
        x: Tensor,
        positions: Tensor,
        bias: Tensor | None,
        *,
        expert: int = TEXT_EXPERT,
        condition: Tensor | None = None,
    ) -> Tokens:
        """Embeddings ``x [T, W]`` of one expert's stream at ``positions [3, T]``, before the first layer."""
        return Tokens(x, self.rotary(positions), bias, expert, condition)

    def layer(
        self, number: int, tokens: Tokens, past: Tensor | None, *, last: bool = False
    ) -> tuple[Tokens, Tensor]:
        """The tokens behind a layer, and their keys/values ``[T, 2, kv, d]`` there.

        ``past [P, 2, kv, d]`` of that layer. With ``last``, only the last token leaves the last layer.
        """
        x, new = self.layers[number](
            tokens.x,
            tokens.rotary,
            tokens.bias,
            past,
            expert=tokens.expert,
            condition=tokens.condition,
            last=last and number == len(self.layers) - 1,
        )
        return tokens._replace(x=x), new

    def hidden(self, tokens: Tokens) -> Tensor:
        """Hidden states ``[T, W]`` of tokens behind the last layer."""
        return normed(self, FINAL, tokens.x, tokens.expert, tokens.condition)[0]

    def forward(
        self, tokens: Tokens, past: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Run all layers behind ``past [P, L, 2, kv, d]``.

        Returns hidden states ``[T, W]`` and the new keys/values ``[T, L, 2, kv, d]``. With ``last``, only the
        last token's hidden state ``[1, W]`` is asked for, and the last layer computes no other.
        """
        cache = []
        for number in range(len(self.layers)):
            layer_past = None if past is None else past.select(-4, number)
            tokens, new = self.layer(number, tokens, layer_past, last=last)
            cache.append(new)
        return self.hidden(tokens), torch.stack(cache, dim=-4)


def causal_mask(tokens: int, past: int) -> Tensor:
    """``[tokens, past + tokens]``: true where a token may look, at the past, itself and what is before it."""
    return torch.ones(tokens, past + tokens, dtype=torch.bool).tril(past)
