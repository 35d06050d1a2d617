"""Named shapes of random checkpoints, as data: what their ``config.json`` and tokenizer say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wall_edge.bundle import ActionKind, FastActions, FlowActions
from wall_edge.errors import ConfigError

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
_ADDED_TO_QWEN = 2
"""``<|propri|>`` and ``<|action|>``; the other special tokens are Qwen's own."""


@dataclass(frozen=True)
class LaterParts:
    """What wall-oss-0.5 has and the first family has not: a narrow action expert, the state in words."""

    action_hidden: int
    """Channels of the action expert and of the head."""
    embedding_rows: int
    """Rows of the embeddings as stored; its ``config.json`` says the base vocabulary's."""
    state_bins: int = 256


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
    later: LaterParts | None = None

    @property
    def actions(self) -> type[ActionKind]:
        """The kind of action that the tokenizer is made for."""
        return FastActions if self.fast_tokens else FlowActions

    @property
    def vocab_size(self) -> int:
        """What ``config.json`` says: the base vocabulary and, of the first family, the added tokens, whose
        rows are rounded up to a multiple of 64."""
        if self.later is not None:
            return self.base_vocab
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
_MINI: dict[str, Any] = {"layers": 6, "vision_depth": 8, "full_attention": (1, 3, 5, 7)}
_OF_26: dict[str, Any] = {"dof_groups": DOF_26_GROUPS, "state_groups": STATE_26_GROUPS}
_05 = replace(_FLOW, **_OF_26, later=LaterParts(action_hidden=1024, embedding_rows=155765))
SHAPES = {
    "wall-oss-flow": _FLOW,
    "wall-oss-fast": replace(_FLOW, fast_tokens=2048),
    "wall-oss-0.5": _05,
    "wall-oss-mini": replace(_FLOW, **_MINI),
    "wall-oss-0.5-mini": replace(_05, **_MINI),
    "tiny": _TINY,
    "tiny-fast": replace(_TINY, fast_tokens=2048),
    "tiny-26": replace(_TINY, **_OF_26),
    "tiny-0.5": replace(
        _TINY, **_OF_26, action_mlp=48, later=LaterParts(action_hidden=32, embedding_rows=1100)
    ),
}


def named_shape(name: str) -> NamedShape:
    """Look up :data:`SHAPES`; raises :class:`ConfigError` on a name that is not there."""
    if name not in SHAPES:
        raise ConfigError(f"shape {name!r}", expected=f"one of {', '.join(SHAPES)}")
    return SHAPES[name]
