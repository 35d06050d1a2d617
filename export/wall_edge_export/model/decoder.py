"""The Qwen2.5 decoder with hard-routed experts.

All tokens share attention; a token's type picks its MLP: expert 0 for text, image and state tokens,
expert 1 for action tokens. Nothing in the prefix depends on the action tokens, so the prefix's keys and
values are computed once and handed over in one tensor ``[tokens, layers, 2, kv heads, head dim]``:
token-major, so that a cache grows in place and a shared prefix is forked by its length.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wall_edge_export.model.layers import RMSNorm, SwiGLU, attend, rotate
from wall_edge_export.model.shapes import ACTION_EXPERT, TEXT_EXPERT, ModelShape


class Rotary(NamedTuple):
    """Cosine and sine ``[T, 1, head_dim]`` of some tokens' positions."""

    cos: Tensor
    sin: Tensor

    def last(self) -> Rotary:
        """Those of the last token."""
        return Rotary(self.cos[-1:], self.sin[-1:])


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
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.num_heads, shape.num_kv_heads, shape.head_dim
        kv_width = shape.num_kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, shape.num_heads * shape.head_dim)
        self.k_proj = nn.Linear(shape.hidden_size, kv_width)
        self.v_proj = nn.Linear(shape.hidden_size, kv_width)
        self.o_proj = nn.Linear(shape.num_heads * shape.head_dim, shape.hidden_size, bias=False)

    def forward(
        self, x: Tensor, rotary: Rotary, bias: Tensor | None, past: Tensor | None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """``x [T, H]``, ``past [P, 2, kv, d]`` → output ``[T, H]`` and the new keys/values ``[T, 2, kv, d]``.

        ``bias [T, P + T]`` is added to the scores. With ``last``, only the last token asks and the output is
        ``[1, H]``.
        """
        asking, turn = (x[-1:], rotary.last()) if last else (x, rotary)
        q = (rotate(self._split(self.q_proj(asking)), *turn) * self.head_dim**-0.5).to(x.dtype)
        k = rotate(self._split(self.k_proj(x)), *rotary).to(x.dtype)
        new = torch.stack((k, self._split(self.v_proj(x))), dim=1)
        visible = new if past is None else torch.cat((past, new))
        keys, values = (self._repeated(visible.select(1, part)) for part in (0, 1))
        asking_bias = bias[-1:] if last and bias is not None else bias
        out = attend(q.transpose(0, 1).unsqueeze(0), keys, values, asking_bias)
        merged: Tensor = self.o_proj(out.transpose(1, 2).flatten(2)[0])
        return merged, new

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
    """The token's type picks the expert; the last ``n_action`` tokens are action tokens."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.widths = [expert.width for expert in shape.experts]
        self.experts = nn.ModuleList(
            [SwiGLU(expert.width, expert.intermediate_size, bias=False) for expert in shape.experts]
        )

    def forward(self, x: Tensor, n_action: int) -> Tensor:
        split = x.shape[-2] - n_action
        if n_action == 0:
            return self._expert(x, TEXT_EXPERT)
        if split == 0:
            return self._expert(x, ACTION_EXPERT)
        prefix, action = x[..., :split, :], x[..., split:, :]
        return torch.cat((self._expert(prefix, TEXT_EXPERT), self._expert(action, ACTION_EXPERT)), dim=-2)

    def _expert(self, x: Tensor, index: int) -> Tensor:
        width = self.widths[index]
        out: Tensor = self.experts[index](x[..., :width])
        rest = x.shape[-1] - width
        return out if rest == 0 else nn.functional.pad(out, (0, rest))


class DecoderLayer(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.moe = HardRoutedExperts(shape)
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        bias: Tensor | None,
        past: Tensor | None,
        *,
        n_action: int = 0,
        last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        attended, new = self.self_attn(self.input_layernorm(x), rotary, bias, past, last=last)
        x = (x[..., -1:, :] if last else x) + attended
        return x + self.moe(self.post_attention_layernorm(x), n_action), new


class Decoder(nn.Module):
    """Token embeddings → final hidden states, with the keys/values of the tokens that went in."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList([DecoderLayer(shape) for _ in range(shape.num_layers)])
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.rotary = MultimodalRotary(shape)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        bias: Tensor | None,
        *,
        n_action: int = 0,
        past: Tensor | None = None,
        last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Run all layers.

        ``x [T, H]`` embeddings, the last ``n_action`` of them action tokens; ``positions [3, T]``;
        ``bias [T, P + T]`` is added to the attention scores, None where every token sees every other;
        ``past [P, L, 2, kv, d]``. Returns hidden states ``[T, H]`` after the final norm and the
        new keys/values ``[T, L, 2, kv, d]``. With ``last``, only the last token's hidden state
        ``[1, H]`` is asked for, and the last layer computes no other.
        """
        rotary = self.rotary(positions)
        cache = []
        for number, layer in enumerate(self.layers):
            layer_past = None if past is None else past.select(-4, number)
            only = last and number == len(self.layers) - 1
            x, new = layer(x, rotary, bias, layer_past, n_action=n_action, last=only)
            cache.append(new)
        return self.norm(x), torch.stack(cache, dim=-4)


def causal_mask(tokens: int, past: int) -> Tensor:
    """``[tokens, past + tokens]``: true where a token may look, at the past, itself and what is before it."""
    return torch.ones(tokens, past + tokens, dtype=torch.bool).tril(past)
