"""Shapes of a WALL-OSS checkpoint, read from its ``config.json``.

The layout is the flat, legacy Qwen2.5-VL configuration plus WALL-OSS's expert fields
(github.com/X-Square-Robot/wall-x, September 2025); newer transformers nest the text fields under
``text_config``, which is flattened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wall_edge.errors import CheckpointError

TEXT_EXPERT, ACTION_EXPERT = 0, 1


@dataclass(frozen=True)
class VisionShape:
    """Vision tower: ``depth`` blocks over patches of ``patch_size`` px, ``spatial_merge_size``² a token."""

    depth: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    in_channels: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    window_size: int
    full_attention_blocks: tuple[int, ...]
    out_hidden_size: int

    @property
    def patch_dim(self) -> int:
        """Values in one flattened patch (channels × frames × height × width)."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2


@dataclass(frozen=True)
class ExpertShape:
    """One SwiGLU expert; it reads and writes the first ``width`` channels of the hidden state."""

    width: int
    intermediate_size: int


@dataclass(frozen=True)
class ModelShape:
    """Everything that decides the shapes and the arithmetic of a WALL-OSS model."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    rms_norm_eps: float
    rope_theta: float
    mrope_section: tuple[int, int, int]
    experts: tuple[ExpertShape, ...]
    vision: VisionShape
    action_dof: int
    state_dof: int
    tied_embeddings: bool

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    def kv_shape(self, tokens: int) -> tuple[int, int, int, int, int]:
        """Shape of the keys/values of ``tokens`` tokens: ``[tokens, layers, 2, kv heads, head dim]``."""
        return (tokens, self.num_layers, 2, self.num_kv_heads, self.head_dim)


def model_shape(config: Mapping[str, Any]) -> ModelShape:
    """Read and check ``config.json``; raises :class:`CheckpointError` naming the field that is wrong."""
    flat = {**config, **config.get("text_config", {})}
    _refuse_unsupported(flat)
    hidden = _integer(flat, "hidden_size")
    heads = _integer(flat, "num_attention_heads")
    kv_heads = _integer(flat, "num_key_value_heads")
    if hidden % heads or heads % kv_heads:
        raise CheckpointError(
            f"config.json: hidden_size {hidden}, num_attention_heads {heads}, num_key_value_heads {kv_heads}",
            expected="each to be a multiple of the next",
            fix="take the config.json that was saved with these weights",
        )
    return ModelShape(
        vocab_size=_integer(flat, "vocab_size"),
        hidden_size=hidden,
        num_layers=_integer(flat, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        rms_norm_eps=float(flat.get("rms_norm_eps", 1e-6)),
        rope_theta=float(flat.get("rope_theta", 1e6)),
        mrope_section=_mrope_section(flat, hidden // heads),
        experts=_experts(flat, hidden),
        vision=_vision(_mapping(flat, "vision_config"), hidden),
        action_dof=dof_count(flat, "dof_config"),
        state_dof=dof_count(flat, "agent_pos_config"),
        tied_embeddings=bool(flat.get("tie_word_embeddings", False)),
    )


def dof_count(config: Mapping[str, Any], key: str) -> int:
    """Degrees of freedom: the sum over ``dof_config`` or ``agent_pos_config``."""
    groups = _mapping(config, key)
    return sum(_integer(groups, name) for name in groups)


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    def refuse(what: str, expected: str) -> None:
        raise CheckpointError(
            f"config.json: {what} is not supported",
            expected=expected,
            fix="export a wall-oss-flow checkpoint of the shared-attention family",
        )

    if config.get("model_type", "qwen2_5_vl") not in ("qwen2_5_vl", "wall_oss", "qwen2_5_vl_text"):
        refuse(f"model_type {config['model_type']!r}", "the qwen2_5_vl backbone")
    if config.get("attention_moe"):
        refuse("attention_moe: true (per-expert attention)", "attention weights shared by all tokens")
    for key in ("norm_moe", "adaptive_norm", "use_adarms"):
        if config.get(key):
            refuse(f"{key}: {config[key]!r} (per-expert or adaptive norms)", "norms shared by all tokens")
    if not config.get("mlp_moe", True):
        refuse("mlp_moe: false", "hard-routed expert MLPs")
    if config.get("hidden_act", "silu") != "silu":
        refuse(f"hidden_act {config['hidden_act']!r}", "silu")
    rope = config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "mrope"):
        refuse(f"rope_scaling type {kind!r}", "default (multimodal rotary positions)")


def _mrope_section(config: Mapping[str, Any], head_dim: int) -> tuple[int, int, int]:
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    section = tuple(int(n) for n in rope.get("mrope_section", (16, 24, 24)))
    if len(section) != 3 or 2 * sum(section) != head_dim:
        raise CheckpointError(
            f"config.json: mrope_section {list(section)}",
            expected=f"three numbers that sum to half the head width ({head_dim // 2})",
            fix="take the config.json that was saved with these weights",
        )
    return (section[0], section[1], section[2])


def _experts(config: Mapping[str, Any], hidden: int) -> tuple[ExpertShape, ...]:
    experts = config.get("experts")
    count = config.get("num_experts")
    if not isinstance(experts, list) or count != len(experts) or count != 2:
        listed = len(experts) if isinstance(experts, list) else "none"
        raise CheckpointError(
            f"config.json: expert layout num_experts={count!r} with {listed} experts listed",
            expected="2 experts (0: text, image and state tokens; 1: action tokens), each listed",
            fix="export a wall-oss-flow checkpoint, or restore num_experts and experts",
        )
    widths = config.get("dim_inputs") or [hidden] * len(experts)
    shapes = []
    for index, expert in enumerate(experts):
        width = int(widths[index]) if index < len(widths) else -1
        act = expert.get("hidden_act", "silu")
        if not 0 < width <= hidden or int(expert.get("hidden_size", width)) != width or act != "silu":
            raise CheckpointError(
                f"config.json: expert {index} has hidden_size {expert.get('hidden_size')}, "
                f"dim_inputs {width}, hidden_act {act!r}",
                expected=f"hidden_size equal to dim_inputs, at most hidden_size {hidden}, and silu",
                fix="take the config.json that was saved with these weights",
            )
        shapes.append(ExpertShape(width, _integer(expert, "intermediate_size")))
    return tuple(shapes)


def _vision(config: Mapping[str, Any], hidden: int) -> VisionShape:
    if int(config.get("out_hidden_size", hidden)) != hidden:
        raise CheckpointError(
            f"config.json: vision out_hidden_size {config['out_hidden_size']}",
            expected=f"the decoder's hidden_size {hidden}",
            fix="take the config.json that was saved with these weights",
        )
    return VisionShape(
        depth=_integer(config, "depth"),
        hidden_size=_integer(config, "hidden_size"),
        intermediate_size=_integer(config, "intermediate_size"),
        num_heads=_integer(config, "num_heads"),
        in_channels=int(config.get("in_channels", config.get("in_chans", 3))),
        patch_size=int(config.get("patch_size", 14)),
        temporal_patch_size=int(config.get("temporal_patch_size", 2)),
        spatial_merge_size=int(config.get("spatial_merge_size", 2)),
        window_size=int(config.get("window_size", 112)),
        full_attention_blocks=tuple(int(n) for n in config.get("fullatt_block_indexes", (7, 15, 23, 31))),
        out_hidden_size=hidden,
    )


def _mapping(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    if not isinstance(value, Mapping) or not value:
        raise CheckpointError(
            f"config.json: {key} is missing",
            expected="a mapping of names to sizes",
            fix=f"add {key} to config.json, or put upstream's training config.yml beside the weights",
        )
    return value


def _integer(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise CheckpointError(
            f"config.json: {key} is {value!r}",
            expected="a positive whole number",
            fix="take the config.json that was saved with these weights",
        )
    return value
