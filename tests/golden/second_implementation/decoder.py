"""The decoder with two experts over a whole sequence, every token sent to its expert at every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.second_implementation.layers import Allowed, attention, rotated, silu, unit_rms
from tests.golden.second_implementation.weights import Floats

Experts = NDArray[np.int64]


class Decoder:
    """The layers of one checkpoint, without embeddings and heads."""

    def __init__(self, tensors: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        self._tensors = tensors
        self._config = config
        self._hidden: int = config["hidden_size"]
        self._heads: int = config["num_attention_heads"]
        self._kv_heads: int = config["num_key_value_heads"]
        self._head_width = self._hidden // self._heads
        self._widths: list[int] = config["dim_inputs"]
        self._expert_attention: bool = config.get("attention_moe", False)
        self._expert_norms: bool = config.get("norm_moe", False)
        self._adaptive: bool = config.get("use_adarms", False)

    def run(
        self,
        x: Floats,
        positions: NDArray[np.int64],
        experts: Experts,
        allowed: Allowed,
        condition: Floats | None,
    ) -> Floats:
        """Embeddings [tokens, hidden] to the final norm's output [tokens, hidden].

        ``positions`` [3, tokens], ``experts`` 0 or 1 a token, ``allowed`` [tokens, tokens], ``condition`` of
        adaptive norms.
        """
        angles = self._angles(positions)
        for layer in range(self._config["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            n, gate = self._norm(f"{name}.input_layernorm", x, experts, condition)
            x = x + self._attention(f"{name}.self_attn", n, angles, experts, allowed) * gate
            n, gate = self._norm(f"{name}.post_attention_layernorm", x, experts, condition)
            x = x + self._mlp(f"{name}.moe.experts", n, experts) * gate
        return self._norm("model.norm", x, experts, condition)[0]

    def _norm(
        self, name: str, x: Floats, experts: Experts, condition: Floats | None
    ) -> tuple[Floats, Floats]:
        """The norm's output and the gate of the sub-layer behind it, both [tokens, hidden]."""
        gate = np.ones_like(x)
        epsilon = self._config["rms_norm_eps"]
        if not self._expert_norms:
            return unit_rms(x, epsilon) * self._tensors[f"{name}.weight"], gate

        def one(e: int, rows: Floats) -> Floats:
            unit = unit_rms(rows[:, : self._widths[e]], epsilon)
            if e == 0 or not self._adaptive:
                return unit * self._tensors[f"{name}s.{e}.weight"]
            assert condition is not None
            scale, shift, factor = np.split(self._linear(f"{name}s.{e}.dense", condition), 3)
            gate[experts == e, : len(factor)] = factor
            return unit * (1.0 + scale) + shift

        return _routed(x, experts, self._hidden, one), gate

    def _attention(self, name: str, n: Floats, angles: Floats, experts: Experts, allowed: Allowed) -> Floats:
        parts = [heads * self._head_width for heads in (self._heads, self._kv_heads, self._kv_heads)]
        qkv = _routed(n, experts, sum(parts), lambda e, rows: self._qkv(name, e, rows))
        q, k, v = np.split(qkv, np.cumsum(parts)[:-1], axis=1)
        q, k, v = (part.reshape(len(n), -1, self._head_width) for part in (q, k, v))
        mixed = attention(rotated(q, angles), rotated(k, angles), v, allowed)
        if not self._expert_attention:
            return mixed @ self._tensors[f"{name}.o_proj.weight"].T
        projections = [self._tensors[f"{name}.o_proj_experts.{e}.weight"].T for e in (0, 1)]
        return _routed(mixed, experts, self._hidden, lambda e, rows: rows @ projections[e])

    def _qkv(self, name: str, e: int, rows: Floats) -> Floats:
        if f"{name}.qkv_proj.weight" in self._tensors:
            return self._linear(f"{name}.qkv_proj", rows)
        if not self._expert_attention:
            return np.concatenate([self._linear(f"{name}.{part}_proj", rows) for part in "qkv"], axis=1)
        rows = rows[:, : self._widths[e]]
        if f"{name}.qkv_proj_experts.{e}.weight" in self._tensors:
            return self._linear(f"{name}.qkv_proj_experts.{e}", rows)
        return np.concatenate(
            [self._linear(f"{name}.{part}_proj_experts.{e}", rows) for part in "qkv"], axis=1
        )

    def _mlp(self, name: str, n: Floats, experts: Experts) -> Floats:
        def one(e: int, rows: Floats) -> Floats:
            rows = rows[:, : self._widths[e]]
            if f"{name}.{e}.gate_up_proj.weight" in self._tensors:
                gate, up = np.split(rows @ self._tensors[f"{name}.{e}.gate_up_proj.weight"].T, 2, axis=1)
            else:
                gate = rows @ self._tensors[f"{name}.{e}.gate_proj.weight"].T
                up = rows @ self._tensors[f"{name}.{e}.up_proj.weight"].T
            return (silu(gate) * up) @ self._tensors[f"{name}.{e}.down_proj.weight"].T

        return _routed(n, experts, self._hidden, one)

    def _linear(self, name: str, x: Floats) -> Floats:
        return x @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"]

    def _angles(self, positions: NDArray[np.int64]) -> Floats:
        """Rotation angles [tokens, head/2]: sections of channels follow time, height and width."""
        half = self._head_width // 2
        frequencies = self._config["rope_theta"] ** -(np.arange(half) / half)
        axes = np.repeat(np.arange(3), self._config["rope_scaling"]["mrope_section"])
        return positions[axes].T * frequencies


def _routed(x: Floats, experts: Experts, width: int, expert: Callable[[int, Floats], Floats]) -> Floats:
    """Each token's row of ``x`` through its expert, zeros behind what comes out: [tokens, width]."""
    out = np.zeros((len(x), width))
    for e in np.unique(experts):
        rows = np.flatnonzero(experts == e)
        result = expert(int(e), x[rows])
        out[rows, : result.shape[1]] = result
    return out
