"""Random weights under a checkpoint's names, fused or apart as the settings say."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.golden.second_implementation.settings import VOCABULARY, Settings

Tensors = dict[str, NDArray[np.float32]]
_PIXELS = (3, 2, 14, 14)


@dataclass
class RandomCheckpoint:
    """Tensors of ``settings``; activations stay near unit size, so that every part of a sum matters."""

    settings: Settings
    random: np.random.Generator
    tensors: Tensors = field(default_factory=dict)

    def fill(self) -> Tensors:
        """All tensors by name."""
        self._vision()
        self._decoder()
        self._head()
        return {self.settings.prefix + name: value for name, value in self.tensors.items()}

    def _put(self, name: str, *shape: int, scale: float, offset: float = 0.0) -> None:
        self.tensors[name] = (offset + scale * self.random.standard_normal(shape)).astype(np.float32)

    def _linear(self, name: str, rows: int, columns: int, bias: bool = False) -> None:
        self._put(f"{name}.weight", rows, columns, scale=columns**-0.5)
        if bias:
            self._put(f"{name}.bias", rows, scale=0.3)

    def _scale(self, name: str, width: int) -> None:
        self._put(f"{name}.weight", width, scale=0.2, offset=1.0)

    def _fuse(self, name: str, parts: tuple[str, ...], fused: str) -> None:
        """``name`` with ``{}`` for each of ``parts``, stacked into one tensor with ``fused`` there."""
        for kind in ("weight", "bias"):
            apart = [f"{name.format(part)}.{kind}" for part in parts]
            if apart[0] in self.tensors:
                stacked = np.concatenate([self.tensors.pop(each) for each in apart])
                self.tensors[f"{name.format(fused)}.{kind}"] = stacked

    def _vision(self) -> None:
        s = self.settings
        width = s.vision_hidden
        self._put("visual.patch_embed.proj.weight", width, *_PIXELS, scale=1176**-0.5)
        for block in range(2):
            name = f"visual.blocks.{block}"
            self._scale(f"{name}.norm1", width)
            self._scale(f"{name}.norm2", width)
            self._linear(f"{name}.attn.qkv", 3 * width, width, bias=True)
            self._linear(f"{name}.attn.proj", width, width, bias=True)
            self._linear(f"{name}.mlp.gate_proj", s.vision_intermediate, width, bias=True)
            self._linear(f"{name}.mlp.up_proj", s.vision_intermediate, width, bias=True)
            self._linear(f"{name}.mlp.down_proj", width, s.vision_intermediate, bias=True)
            if s.vision_padded is not None:
                self._pad(f"{name}.mlp", s.vision_padded - s.vision_intermediate)
            if s.vision_fused:
                self._fuse(f"{name}.mlp.{{}}_proj", ("gate", "up"), "gate_up")
        self._scale("visual.merger.ln_q", width)
        self._linear("visual.merger.mlp.0", 4 * width, 4 * width, bias=True)
        self._linear("visual.merger.mlp.2", s.hidden, 4 * width, bias=True)

    def _pad(self, name: str, zeros: int) -> None:
        for part in ("gate_proj", "up_proj"):
            for kind in ("weight", "bias"):
                value = self.tensors[f"{name}.{part}.{kind}"]
                self.tensors[f"{name}.{part}.{kind}"] = np.pad(
                    value, [(0, zeros)] + [(0, 0)] * (value.ndim - 1)
                )
        down = f"{name}.down_proj.weight"
        self.tensors[down] = np.pad(self.tensors[down], ((0, 0), (0, zeros)))

    def _decoder(self) -> None:
        s = self.settings
        rows = VOCABULARY + s.further_rows
        self._put("model.embed_tokens.weight", rows, s.hidden, scale=0.2)
        if not s.tied:
            self._linear("lm_head", rows, s.hidden)
        for layer in range(s.layers):
            name = f"model.layers.{layer}"
            self._norm(f"{name}.input_layernorm")
            self._attention(f"{name}.self_attn")
            self._norm(f"{name}.post_attention_layernorm")
            for e, (width, inner) in enumerate(zip(s.widths, s.intermediates, strict=True)):
                expert = f"{name}.moe.experts.{e}"
                self._linear(f"{expert}.gate_proj", inner, width)
                self._linear(f"{expert}.up_proj", inner, width)
                self._linear(f"{expert}.down_proj", width, inner)
                if s.fused:
                    self._fuse(f"{expert}.{{}}_proj", ("gate", "up"), "gate_up")
        self._norm("model.norm")

    def _norm(self, name: str) -> None:
        s = self.settings
        if not s.expert_norms:
            self._scale(name, s.hidden)
            return
        self._scale(f"{name}s.0", s.widths[0])
        if s.adaptive:
            self._linear(f"{name}s.1.dense", 3 * s.widths[1], s.action_width, bias=True)
        else:
            self._scale(f"{name}s.1", s.widths[1])

    def _attention(self, name: str) -> None:
        s = self.settings
        head = s.hidden // s.heads
        experts = [(f"_experts.{e}", width) for e, width in enumerate(s.widths)]
        for suffix, width in experts if s.expert_attention else [("", s.hidden)]:
            for part, heads in (("q", s.heads), ("k", s.kv_heads), ("v", s.kv_heads)):
                self._linear(f"{name}.{part}_proj{suffix}", heads * head, width, bias=True)
            self._linear(f"{name}.o_proj{suffix}", width, s.heads * head)
            if s.fused:
                self._fuse(f"{name}.{{}}_proj{suffix}", ("q", "k", "v"), "qkv")

    def _head(self) -> None:
        s, name = self.settings, "action_preprocessor"
        width, halves = s.action_width, 2 if s.masked else 1
        self._linear(f"{name}.w1", width, halves * s.action_slots)
        self._linear(f"{name}.action_proj_back", s.action_slots, width)
        if s.adaptive:
            self._linear(f"{name}.time_mlp_in", width, width, bias=True)
            self._linear(f"{name}.time_mlp_out", width, width, bias=True)
        else:
            self._linear(f"{name}.w2", width, 2 * width)
            self._linear(f"{name}.w3", width, width)
        if s.state_token:
            self._linear(f"{name}.propri_proj", s.state_width or s.hidden, halves * s.state_slots)
