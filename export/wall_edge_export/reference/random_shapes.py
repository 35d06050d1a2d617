"""Named shapes of random checkpoints, as data: what their ``config.json`` and tokenizer say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from wall_edge.bundle import ActionKind, FastActions, FlowActions
from wall_edge.errors import ConfigError
from wall_edge.policies.prompt_text import SPECIAL_TOKENS, action_text, observation_text, subgoal_text

ROBOT = "x2_normal"
"""The robot whose statistics upstream's published checkpoints carry."""

CAMERAS = ("face_view", "left_wrist_view", "right_wrist_view")

# Upstream's 20 degrees of freedom (github.com/X-Square-Robot/wall-x, workspace/lerobot_example).
DOF_GROUPS = {
    "follow_left_ee_cartesian_pos": 3,
    "follow_left_ee_rotation": 3,
    "follow_left_gripper": 1,
    "follow_right_ee_cartesian_pos": 3,
    "follow_right_ee_rotation": 3,
    "follow_right_gripper": 1,
    "head_actions": 2,
    "height": 1,
    "car_pose": 3,
}
# The later 26: rotations as the first two rows of their matrices; fine-tunes call the last six padding.
_ARM_6D = {"ee_cartesian_pos": 3, "ee_rotation_6D": 6, "gripper": 1}
STATE_26_GROUPS = {
    **{f"follow_{side}_{part}": size for side in ("left", "right") for part, size in _ARM_6D.items()},
    "velocity_decomposed": 3,
    "height": 1,
    "head_actions": 2,
}
DOF_26_GROUPS = {
    f"{name}_relative" if "_ee_" in name else name: size for name, size in STATE_26_GROUPS.items()
}
_END_OF_TEXT = "<|endoftext|>"
_ADDED_TO_QWEN = 2
"""``<|propri|>`` and ``<|action|>``; the other special tokens are Qwen's own."""
_MAX_WORDS = 768


@dataclass(frozen=True)
class NamedShape:
    """Widths and depths of a model; ``fast_tokens`` is the number of ``<|action_token_i|>``."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    text_mlp: int
    action_mlp: int
    mrope_section: tuple[int, int, int]
    vision_depth: int
    vision_hidden: int
    vision_heads: int
    vision_mlp: int
    full_attention: tuple[int, ...]
    base_vocab: int
    fast_tokens: int = 0
    dof_groups: Mapping[str, int] = field(default_factory=DOF_GROUPS.copy)
    state_groups: Mapping[str, int] = field(default_factory=DOF_GROUPS.copy)

    @property
    def actions(self) -> type[ActionKind]:
        """The kind of action that the tokenizer is made for."""
        return FastActions if self.fast_tokens else FlowActions

    @property
    def vocab_size(self) -> int:
        """The base vocabulary and the added tokens, whose rows are rounded up to a multiple of 64."""
        return self.base_vocab + -(-(_ADDED_TO_QWEN + self.fast_tokens) // 64) * 64


_FLOW = NamedShape(
    hidden=2048,
    layers=36,
    heads=16,
    kv_heads=2,
    text_mlp=11008,
    action_mlp=2048,
    mrope_section=(16, 24, 24),
    vision_depth=32,
    vision_hidden=1280,
    vision_heads=16,
    vision_mlp=3420,
    full_attention=(7, 15, 23, 31),
    base_vocab=151936,
)
_TINY = NamedShape(
    hidden=64,
    layers=2,
    heads=4,
    kv_heads=2,
    text_mlp=96,
    action_mlp=40,
    mrope_section=(2, 3, 3),
    vision_depth=2,
    vision_hidden=32,
    vision_heads=2,
    vision_mlp=48,
    full_attention=(1,),
    base_vocab=1024,
)
SHAPES = {
    "wall-oss-flow": _FLOW,
    "wall-oss-fast": replace(_FLOW, fast_tokens=2048),
    "wall-oss-mini": replace(_FLOW, layers=6, vision_depth=8, full_attention=(1, 3, 5, 7)),
    "tiny": _TINY,
    "tiny-fast": replace(_TINY, fast_tokens=2048),
    "tiny-26": replace(_TINY, dof_groups=DOF_26_GROUPS, state_groups=STATE_26_GROUPS),
}


def named_shape(name: str) -> NamedShape:
    """Look up :data:`SHAPES`; raises :class:`ConfigError` on a name that is not there."""
    if name not in SHAPES:
        raise ConfigError(f"shape {name!r}", expected=f"one of {', '.join(SHAPES)}")
    return SHAPES[name]


def build_tokenizer(shape: NamedShape) -> Tokenizer:
    """A byte-level BPE in which the words of the prompt templates are one token each.

    As with Qwen's vocabulary, a prompt is about as long as its words: a measurement of the prefix sees the
    length that the published model would. Any other text is spelt in bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_MAX_WORDS,
        min_frequency=1,
        special_tokens=[_END_OF_TEXT, *SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_template_texts(), trainer)
    tokenizer.add_tokens([f"<|action_token_{number}|>" for number in range(shape.fast_tokens)])
    return tokenizer


def _template_texts() -> list[str]:
    """What stands between the special tokens of both prompts."""
    observation = observation_text(dict.fromkeys(CAMERAS, 1))
    texts = (observation, subgoal_text("do the task."), action_text("do the task."))
    special = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
    return [part for text in texts for part in special.split(text) if part]


def model_config(shape: NamedShape, tokenizer: Tokenizer, torch_dtype: str) -> dict[str, Any]:
    """``config.json`` in upstream's flat layout, with the ``wall_edge`` block that export asks for."""
    ids = {token: tokenizer.token_to_id(token) for token in (_END_OF_TEXT, *SPECIAL_TOKENS)}
    return {
        "architectures": ["Qwen2_5_VLMoEForAction"],
        "model_type": "qwen2_5_vl",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.text_mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        # Tied, like Qwen2.5-VL-3B: this is what makes the published model 4.22 B parameters.
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": list(shape.mrope_section)},
        "vision_config": _vision_config(shape),
        **_expert_config(shape),
        "dof_config": dict(shape.dof_groups),
        "agent_pos_config": dict(shape.state_groups),
        "noise_scheduler": {"beta_alpha": 1.5, "beta_beta": 1.0, "s": 0.999, "num_inference_timesteps": 10},
        "image_token_id": ids["<|image_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "pad_token_id": ids[_END_OF_TEXT],
        "bos_token_id": ids[_END_OF_TEXT],
        "eos_token_id": ids["<|im_end|>"],
        "torch_dtype": torch_dtype,
        "wall_edge": _training_setup(),
    }


def _vision_config(shape: NamedShape) -> dict[str, Any]:
    return {
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_mlp,
        "num_heads": shape.vision_heads,
        "in_channels": 3,
        "in_chans": 3,
        "patch_size": 14,
        "spatial_patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": 112,
        "fullatt_block_indexes": list(shape.full_attention),
        "out_hidden_size": shape.hidden,
        "hidden_act": "silu",
    }


def _expert_config(shape: NamedShape) -> dict[str, Any]:
    return {
        "num_experts": 2,
        "experts": [
            {"hidden_size": shape.hidden, "intermediate_size": intermediate, "hidden_act": "silu"}
            for intermediate in (shape.text_mlp, shape.action_mlp)
        ],
        "dim_inputs": [shape.hidden, shape.hidden],
        "mlp_moe": True,
        "attention_moe": False,
    }


def _training_setup() -> dict[str, Any]:
    return {
        "robot": ROBOT,
        "horizon": 32,
        "action_rate_hz": 30.0,
        "action_reference": "absolute",
        "integration_steps": 10,
        "cameras": {camera: {"width": 640, "height": 480, "resolution": 256} for camera in CAMERAS},
    }
