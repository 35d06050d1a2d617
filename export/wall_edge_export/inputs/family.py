"""Which generation of WALL-OSS checkpoints one is of."""

from __future__ import annotations

from collections.abc import Mapping

from wall_edge.bundle import FamilyName
from wall_edge_export.checkpoint.outline import Outline

_FIRST: FamilyName = "wall-oss"
_MARKS = (
    "attention_moe",
    "norm_moe",
    "use_adarms",
    "use_state_string_representation",
    "causal_action_attention_mask",
    "use_x_pred",
)


def is_later(outline: Outline) -> bool:
    """Whether the checkpoint is of the later family: what its shape says, and until that does, its
    settings."""
    name: FamilyName | None = getattr(outline.shape, "family", None)
    if name is not None:
        return name != _FIRST
    settings = flat(outline)
    return any(settings.get(key) for key in _MARKS) or settings.get("proj_with_mask") is False


def spells_state(outline: Outline) -> bool:
    """Whether the prompt spells the state; else a token's embedding carries it."""
    return bool(flat(outline).get("use_state_string_representation"))


def flat(outline: Outline) -> Mapping[str, object]:
    """The settings of ``config.json``, those of ``text_config`` included."""
    nested = outline.config.get("text_config")
    return {**outline.config, **(nested if isinstance(nested, Mapping) else {})}
