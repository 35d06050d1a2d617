"""Settings that would change the arithmetic and that nothing here reads: refused by name, or told.

Wall-X 1.1 (``qact/qwen2_5/configuration_qwen2_5_vl.py``), LeRobot's ``wall_oss_05`` and newer transformers
add keys to ``config.json``; upstream's ``config.yml`` may hold them too, also below ``task`` and the like.
What ``model.config`` reads of them is not refused here. wall-oss-1.0-lite is: its backbone is Qwen3.5's,
with linear attention in three of four layers, known by ``vla_config`` and ``qwen3_5``. So are discrete
actions (``ar``): their tokenizer is not among a checkpoint's files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wall_edge.errors import CheckpointError
from wall_edge.files import shown

_FIX = "export a checkpoint of wall-oss-flow, wall-oss-fast or wall-oss-0.5"
_SECTIONS = (
    "text_config", "vision_config", "rope_scaling", "rope_parameters", "noise_scheduler", "task", "model",
    "data",
)  # fmt: skip

_PLAIN: dict[str, tuple[object, ...]] = {
    "time_shift": (1,),
    "adaptive_norm": (False,),
    "mlp_moe": (True,),
    "vla_config": ({},),
    "qwen3_5": (False, {}),
    "ar": (False,),
    "use_ar_action": (False,),
    "action_branch": ("flow",),
    "use_flow_action_expert": (True,),
    "partial_rotary_factor": (1,),
    "mrope_interleaved": (False,),
    "deepstack_visual_indexes": (False,),
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "use_qk_norm": (False,),
    "qk_norm": (False,),
    "attn_logit_softcapping": (),
    "final_logit_softcapping": (),
    "logit_scale": (1,),
    "embedding_multiplier": (1,),
}
"""By key, the values that mean what is computed here anyway; null always does."""
_BACKBONE_KEYS = ("model_type", "backbone", "architectures")
_OTHER_BACKBONE = "qwen3"
_READ_ELSEWHERE = ("noise_scheduler.time_shift",)
"""By their section: settings that mean something there alone."""
_HARMLESS = frozenset(
    {
        "use_cache", "return_dict", "torchscript", "output_attentions", "output_hidden_states", "mot_opt",
        "tie_word_embeddings", "mlp_moe", "is_decoder", "tie_encoder_decoder", "use_bfloat16", "is_causal",
        "use_flash_attention", "use_flash_attention_2", "gradient_checkpointing", "add_cross_attention",
        "attention_bias", "use_fast_tokenizer", "trust_remote_code", "proj_with_mask", "qkv_bias",
        "enable_customized_robot_config", "_flash_attn_2_enabled", "do_sample", "remove_invalid_values",
        "use_x_loss", "attn_deterministic", "use_ema", "use_flow_action_expert", "action_branch",
    }
)  # fmt: skip
"""Switches that are true somewhere and change no number of inference, or that are read elsewhere."""


def refuse_unsupported(config: Mapping[str, Any], where: str) -> None:
    """Raise :class:`CheckpointError` naming the first setting that asks for other arithmetic than ours."""
    for path, key, value in _settings(config):
        read = ".".join(path.split(".")[-2:]) in _READ_ELSEWHERE
        expected = None if read else _expected(key, value)
        if expected is not None:
            raise CheckpointError(
                f"{where}: {path}: {shown(value, 60)} is not supported", expected=expected, fix=_FIX
            )


def _expected(key: str, value: object) -> str | None:
    """What the key should say instead; None where it says nothing new."""
    if key == "layer_types":
        plain = isinstance(value, list) and set(map(str, value)) <= {"full_attention"}
        return None if value is None or plain else "full_attention alone"
    if key in _BACKBONE_KEYS:
        names = value if isinstance(value, list) else [value]
        other = any(_OTHER_BACKBONE in name.lower() for name in names if isinstance(name, str))
        return "the backbone qwen2_5_vl" if other else None
    if key not in _PLAIN or value is None or _means(value, _PLAIN[key]):
        return None
    return f"{key} {' or '.join(map(repr, _PLAIN[key])) or 'not set'}"


def unknown_switches(config: Mapping[str, Any], read_keys: frozenset[str]) -> list[str]:
    """Dotted names of settings that are on and that nothing here reads; ``read_keys``: those that are."""
    return sorted(
        path
        for path, key, value in _settings(config)
        if value is True and key not in read_keys and key not in _HARMLESS and key not in _PLAIN
    )


def _settings(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str, object]]:
    """Dotted path, key and value, sections that belong to the model included, at whatever depth."""
    for key, value in config.items():
        yield f"{above}{key}", key, value
        if key in _SECTIONS and isinstance(value, Mapping):
            yield from _settings(value, f"{above}{key}.")


def _means(value: object, plain: tuple[object, ...]) -> bool:
    """Equal, and an empty list or mapping as well as the number 0 as false."""
    if value in ([], {}, False) and False in plain:
        return True
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in plain)
