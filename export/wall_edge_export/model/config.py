"""The shapes of a WALL-OSS checkpoint, read from its ``config.json``.

The layout is the flat, legacy Qwen2.5-VL configuration plus WALL-OSS's expert fields
(github.com/X-Square-Robot/wall-x, September 2025 and 1.1); newer transformers nest the text fields under
``text_config`` and the rotary ones under ``rope_parameters``, which are flattened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from wall_edge.checks import MAX_SLOTS
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.model.family import family_of
from wall_edge_export.model.shapes import ExpertShape, ModelShape, VisionShape

_FIX = "take the config.json that was saved with these weights"


# What is read of the file, with the types that the loader checks; all other keys are ignored.


@dataclass(frozen=True)
class _Vision:
    depth: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    in_channels: int | None = None
    in_chans: int | None = None
    patch_size: int = 14
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    window_size: int = 112
    fullatt_block_indexes: tuple[int, ...] = (7, 15, 23, 31)
    out_hidden_size: int | None = None
    hidden_act: str = "silu"


@dataclass(frozen=True)
class _Expert:
    intermediate_size: int
    hidden_size: int | None = None
    hidden_act: str = "silu"


@dataclass(frozen=True)
class _Rope:
    mrope_section: tuple[int, int, int] = (16, 24, 24)
    rope_theta: float | None = None
    rope_type: str | None = None
    type: str | None = None


@dataclass(frozen=True)
class _Config:
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vision_config: _Vision
    rms_norm_eps: float
    model_type: str = "qwen2_5_vl"
    hidden_act: str = "silu"
    head_dim: int | None = None
    rope_theta: float | None = None
    rope_scaling: _Rope | None = None
    rope_parameters: _Rope | None = None
    use_sliding_window: bool = False
    num_experts: int | None = None
    experts: tuple[_Expert, ...] | None = None
    dim_inputs: tuple[int, ...] | None = None
    mlp_moe: bool = True
    attention_moe: bool = False
    norm_moe: bool = False
    adaptive_norm: Any = None
    use_adarms: bool = False
    adarms_cond_dim: int | None = None
    action_hidden_size: int | None = None
    state_hidden_size: int | None = None
    proj_with_mask: bool = True
    use_state_string_representation: bool = False
    causal_action_attention_mask: bool = False
    use_x_pred: bool = False
    dof_config: dict[str, int] = field(default_factory=dict)
    agent_pos_config: dict[str, int] = field(default_factory=dict)


READ_KEYS = frozenset(f.name for kind in (_Config, _Vision, _Expert, _Rope) for f in fields(kind))
"""Every key that :func:`model_shape` reads, at whatever depth."""


def model_shape(config: Mapping[str, Any], where: str = "config.json") -> ModelShape:
    """Read and check ``config.json``; raises :class:`CheckpointError` naming the field that is wrong."""
    if config.get("type") == "wall_x":
        raise CheckpointError(
            f"{where}: the settings of a LeRobot policy, not a model's configuration",
            expected="WALL-OSS's separate config.json beside the weights",
            fix="copy config.json from the pretrained_name_or_path that the policy was trained from",
        )
    config = flattened(config, where)
    raw = from_mapping(_Config, config, where, CheckpointError, strict=False)
    _refuse_unsupported(raw)
    _check_numbers(raw)
    shape = ModelShape(
        vocab_size=raw.vocab_size,
        hidden_size=raw.hidden_size,
        num_layers=raw.num_hidden_layers,
        num_heads=raw.num_attention_heads,
        num_kv_heads=raw.num_key_value_heads,
        rms_norm_eps=raw.rms_norm_eps,
        rope_theta=_rope_theta(raw),
        mrope_section=_mrope_section(raw),
        experts=_experts(raw),
        vision=_vision(raw),
        action_dof=_dof(raw.dof_config, "dof_config"),
        state_dof=_dof(raw.agent_pos_config, "agent_pos_config"),
        tied_embeddings=config["tie_word_embeddings"],
        family=family_of(config).name,
        action_width=raw.action_hidden_size or raw.hidden_size,
        state_width=raw.state_hidden_size or raw.hidden_size,
        expert_attention=raw.attention_moe,
        expert_norms=raw.norm_moe,
        adaptive_norms=raw.use_adarms,
        state_token=not raw.use_state_string_representation,
        masked_projections=raw.proj_with_mask,
        causal_actions=raw.causal_action_attention_mask,
        predicts="action" if raw.use_x_pred else "velocity",
    )
    _check_experts(raw, shape)
    return shape


def flattened(config: Mapping[str, Any], where: str = "config.json") -> dict[str, Any]:
    """All settings on one level: those of ``text_config`` go before the root's, but for whether it ties.

    Raises :class:`CheckpointError`.
    """
    nested = config.get("text_config", {})
    if not isinstance(nested, Mapping):
        what = f"{where}: text_config is {shown(repr(nested), 60)}"
        raise CheckpointError(what, expected="a mapping", fix=_FIX)
    flat = {**config, **nested, "tie_word_embeddings": _tied(config, nested)}
    flat.pop("text_config", None)
    return flat


def _tied(config: Mapping[str, Any], nested: Mapping[str, Any]) -> bool:
    """transformers 5's rule (``Qwen2_5_VLConfig.__post_init__``): the root ties, whatever text_config says.

    What earlier versions saved in ``text_config`` alone ties as well.
    """
    values = [part.get("tie_word_embeddings") for part in (config, nested)]
    if odd := [value for value in values if value not in (None, True, False)]:
        raise _wrong(f"tie_word_embeddings is {odd[0]!r}", "true or false")
    return any(values)


def _wrong(what: str, expected: str, fix: str = _FIX) -> CheckpointError:
    return CheckpointError(f"config.json: {shown(what, 400)}", expected=expected, fix=fix)


def _ropes(raw: _Config) -> tuple[_Rope, ...]:
    return tuple(rope for rope in (raw.rope_scaling, raw.rope_parameters) if rope is not None)


def _refuse_unsupported(raw: _Config) -> None:
    ropes = [kind for rope in _ropes(raw) for kind in (rope.rope_type, rope.type) if kind is not None]
    odd_rope = next((kind for kind in ropes if kind not in ("default", "mrope")), "default")
    backbones = ("qwen2_5_vl", "wall_oss", "qwen2_5_vl_text")
    refused = (
        (raw.model_type not in backbones, f"model_type {raw.model_type!r}", "the qwen2_5_vl backbone"),
        (bool(raw.adaptive_norm), f"adaptive_norm: {raw.adaptive_norm!r}", "use_adarms, or plain RMSNorm"),
        (
            raw.use_adarms and not raw.norm_moe,
            "use_adarms: true without norm_moe",
            "norms of the action expert's separate",
        ),
        (
            # Upstream 1.1 masks such a model's action tokens in training and not in inference.
            raw.causal_action_attention_mask and not raw.attention_moe,
            "causal_action_attention_mask: true without attention_moe",
            "attention_moe: true beside it",
        ),
        (not raw.mlp_moe, "mlp_moe: false", "hard-routed expert MLPs"),
        (raw.hidden_act != "silu", f"hidden_act {raw.hidden_act!r}", "silu"),
        (raw.vision_config.hidden_act != "silu", "vision hidden_act other than silu", "silu"),
        (odd_rope != "default", f"rotary positions of type {odd_rope!r}", "default or mrope"),
        (raw.use_sliding_window, "use_sliding_window: true", "full causal attention"),
    )
    for odd, what, expected in refused:
        if odd:
            fix = "export a checkpoint of wall-oss-flow, wall-oss-fast or wall-oss-0.5"
            raise _wrong(f"{what} is not supported", expected, fix)


# Generous, and small enough that whatever passes is looked at within a second.
_LARGEST = {
    "vocab_size": 1 << 22,
    "hidden_size": 1 << 16,
    "num_hidden_layers": 1024,
    "num_attention_heads": 1024,
    "num_key_value_heads": 1024,
    "rms_norm_eps": 1.0,
    "intermediate_size": 1 << 20,
    "depth": 1024,
    "num_heads": 1024,
    "patch_size": 128,
    "temporal_patch_size": 16,
    "spatial_merge_size": 16,
    "window_size": 1 << 14,
    "action_hidden_size": 1 << 16,
    "state_hidden_size": 1 << 16,
    "adarms_cond_dim": 1 << 16,
}


def _check_bounds(where: str, section: object) -> None:
    for name, most in _LARGEST.items():
        value = getattr(section, name, None)
        if value is not None and not 0 < value <= most:
            expected = "more than 0" if value <= 0 else f"at most {most}"
            raise _wrong(f"{where}{name} is {shown(value, 60)}", expected)


def _check_numbers(raw: _Config) -> None:
    _check_bounds("", raw)
    _check_bounds("vision_config.", raw.vision_config)
    for expert in raw.experts or ():
        _check_bounds("an expert's ", expert)
    hidden, heads, kv_heads = raw.hidden_size, raw.num_attention_heads, raw.num_key_value_heads
    if hidden % heads or heads % kv_heads:
        raise _wrong(
            f"hidden_size {hidden}, num_attention_heads {heads}, num_key_value_heads {kv_heads}",
            "each to be a multiple of the next",
        )
    if raw.head_dim not in (None, hidden // heads):
        raise _wrong(f"head_dim {raw.head_dim}", f"hidden_size / num_attention_heads ({hidden // heads})")


def _rope_theta(raw: _Config) -> float:
    thetas = [theta for theta in (raw.rope_theta, *(r.rope_theta for r in _ropes(raw))) if theta is not None]
    if len(set(thetas)) > 1 or any(not 1 < theta <= 1e12 for theta in thetas):
        raise _wrong(f"rope_theta {thetas}", "one number above 1, at most 1e12")
    return thetas[0] if thetas else 1e6


def _mrope_section(raw: _Config) -> tuple[int, int, int]:
    ropes, half = _ropes(raw), raw.hidden_size // raw.num_attention_heads // 2
    section = ropes[0].mrope_section if ropes else _Rope.mrope_section
    if min(section) < 0 or sum(section) != half:
        raise _wrong(
            f"mrope_section {list(section)}", f"three numbers that sum to half the head width ({half})"
        )
    return section


def _experts(raw: _Config) -> tuple[ExpertShape, ...]:
    if raw.experts is None or raw.num_experts != len(raw.experts) or raw.num_experts != 2:
        listed = len(raw.experts) if raw.experts is not None else "none"
        raise _wrong(
            f"expert layout num_experts={raw.num_experts!r} with {listed} experts listed",
            "2 experts (0: text, image and state tokens; 1: action tokens), each listed",
            "export a wall-oss-flow checkpoint, or restore num_experts and experts",
        )
    widths = raw.dim_inputs or (raw.hidden_size,) * len(raw.experts)
    if len(widths) != len(raw.experts):
        raise _wrong(f"dim_inputs {list(widths)}", f"one width for each of {len(raw.experts)} experts")
    shapes = []
    for index, (expert, width) in enumerate(zip(raw.experts, widths, strict=True)):
        fits = 0 < width <= raw.hidden_size and expert.hidden_size in (None, width)
        if not fits or expert.hidden_act != "silu" or expert.intermediate_size < 1:
            raise _wrong(
                f"expert {index} has hidden_size {expert.hidden_size}, dim_inputs {width}, "
                f"intermediate_size {expert.intermediate_size}, hidden_act {expert.hidden_act!r}",
                f"hidden_size equal to dim_inputs, at most {raw.hidden_size}, and silu",
            )
        shapes.append(ExpertShape(width, expert.intermediate_size))
    return tuple(shapes)


def _check_experts(raw: _Config, shape: ModelShape) -> None:
    """Widths that fit one another. An expert reads its own channels of what the others write, zeros where
    they write fewer."""
    hidden = shape.hidden_size
    # Two channels of a time's embedding would have a frequency of no number.
    if not 4 <= shape.action_width <= hidden or shape.action_width % 2:
        raise _wrong(f"action_hidden_size {shape.action_width}", f"an even number, 4 to {hidden}")
    if shape.state_token and shape.state_width > hidden:
        raise _wrong(f"state_hidden_size {shape.state_width}", f"at most the hidden_size {hidden}")
    if shape.adaptive_norms and raw.adarms_cond_dim not in (None, shape.action_width):
        raise _wrong(f"adarms_cond_dim {raw.adarms_cond_dim}", f"the action_hidden_size {shape.action_width}")


def _vision(raw: _Config) -> VisionShape:
    vision = raw.vision_config
    if vision.out_hidden_size not in (None, raw.hidden_size):
        raise _wrong(
            f"vision out_hidden_size {vision.out_hidden_size}", f"the decoder's hidden_size {raw.hidden_size}"
        )
    shape = VisionShape(
        depth=vision.depth,
        hidden_size=vision.hidden_size,
        intermediate_size=vision.intermediate_size,
        num_heads=vision.num_heads,
        in_channels=vision.in_channels or vision.in_chans or 3,
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        spatial_merge_size=vision.spatial_merge_size,
        window_size=vision.window_size,
        full_attention_blocks=vision.fullatt_block_indexes,
        out_hidden_size=raw.hidden_size,
    )
    for name, value in vars(shape).items():
        if isinstance(value, int) and value < 1:
            raise _wrong(f"vision_config.{name} is {value}", "a positive whole number")
    if any(block < 0 for block in shape.full_attention_blocks):
        raise _wrong("a negative block in vision_config.fullatt_block_indexes", "blocks counted from 0")
    if shape.hidden_size % (4 * shape.num_heads):
        raise _wrong(
            f"vision hidden_size {shape.hidden_size} with {shape.num_heads} heads",
            "a multiple of 4 times the heads",
        )
    if shape.in_channels != 3 or shape.window_patches < 1:
        raise _wrong(
            f"vision in_channels {shape.in_channels}, window_size {shape.window_size}",
            "3 channels and a window of at least one merged cell",
        )
    return shape


def _dof(groups: Mapping[str, int], key: str) -> int:
    """Degrees of freedom: the sum over ``dof_config`` or ``agent_pos_config``."""
    if not groups:
        fix = f"add {key} to config.json, or put upstream's training config.yml beside the weights"
        raise _wrong(f"{key} is missing", "a mapping of names to sizes", fix)
    for name, count in groups.items():
        if not 1 <= count <= MAX_SLOTS:
            raise _wrong(
                f"{key}.{name} is {shown(count, 60)}", f"a positive whole number, at most {MAX_SLOTS}"
            )
    if sum(groups.values()) > MAX_SLOTS:
        raise _wrong(f"{key} sums to {sum(groups.values())}", f"at most {MAX_SLOTS} degrees of freedom")
    return sum(groups.values())
