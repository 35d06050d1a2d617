"""The generations of WALL-OSS checkpoints: what a checkpoint's settings mean where no file says it.

The first (September 2025: wall-oss-flow, wall-oss-fast) shares attention and norms and has a token for the
state. The later one (Wall-X 1.1: wall-oss-flow-0.1, wall-oss-0.5) routes attention, norms and widths by
expert, may write the state as text, and integrates up to 0.999. What of it a checkpoint uses is in its
:class:`~wall_edge_export.model.shapes.ModelShape`, property by property; no module asks for a family's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wall_edge.bundle import FamilyName, TimeSchedule
from wall_edge.checks import between
from wall_edge.config_loader import Invalid


@dataclass(frozen=True)
class ModelFamily:
    """Defaults of one generation."""

    name: FamilyName
    time_scale: float
    """Where the flow's times end. The later one's ``noise_scheduler.s`` may say otherwise; what the first has
    of that name was for training alone."""
    longest_side: int
    """Of a camera's frame after the first resize [pixels]."""
    fills_slots: bool
    """Whether slots that a robot lacks hold a zero that is normalised as all values are, and their actions go
    there; else they hold 0 whatever the statistics, and the model says what becomes of their actions."""
    fast_tokens: bool
    """Whether discrete actions are FAST's tokens; the later one's tokenizer is none of its files."""
    vocabulary_in_config: bool
    """Whether ``vocab_size`` is believed; else the rows of the embeddings that are stored."""


FIRST = ModelFamily(
    "wall-oss",
    time_scale=1.0,
    longest_side=256,
    fills_slots=False,
    fast_tokens=True,
    vocabulary_in_config=True,
)
LATER = ModelFamily(
    "wall-oss-0.5",
    time_scale=0.999,
    longest_side=448,
    fills_slots=True,
    fast_tokens=False,
    vocabulary_in_config=False,
)
FAMILIES: Mapping[str, ModelFamily] = {family.name: family for family in (FIRST, LATER)}


@dataclass(frozen=True)
class NoiseScheduler:
    """``noise_scheduler``. Of the first family only the number of steps counts: its ``s`` was for
    training."""

    num_inference_timesteps: int = 10
    s: float = 0.999
    time_shift: float = 1.0

    def __post_init__(self) -> None:
        between("num_inference_timesteps", self.num_inference_timesteps, 1, 1000)
        for key, schedule in (("s", (self.s,)), ("time_shift", (1.0, self.time_shift))):
            try:
                TimeSchedule(*schedule)
            except Invalid as problem:
                raise Invalid(key, problem.value, expected=problem.expected) from None


WIDTH_KEYS = ("action_hidden_size", "state_hidden_size")
"""Settings: channels of the action head and of the state token's embedding."""
_LATER_MARKS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        (
            "attention_moe",
            "norm_moe",
            "use_adarms",
            "use_state_string_representation",
            "causal_action_attention_mask",
            "use_x_pred",
        ),
        bool,
    ),
    "proj_with_mask": lambda value: value is False,
}


def family_of(config: Mapping[str, Any]) -> ModelFamily:
    """The generation of a ``config.json``: the first knows none of the later one's settings."""
    later = any(is_set(config[key]) for key, is_set in _LATER_MARKS.items() if key in config)
    later = later or _scheduler(config).get("time_shift") not in (None, 1)
    all_channels = (None, config.get("hidden_size"))
    narrow = any(config.get(key) not in all_channels for key in WIDTH_KEYS)
    return LATER if later or narrow else FIRST


def time_schedule(config: Mapping[str, Any], family: ModelFamily) -> TimeSchedule:
    """How a ``config.json`` of a family, whose :class:`NoiseScheduler` was read, makes times of a number of
    integration steps."""
    scheduler = _scheduler(config)
    if family is FIRST:
        return TimeSchedule(family.time_scale)
    return TimeSchedule(scheduler.get("s", family.time_scale), scheduler.get("time_shift", 1.0))


def _scheduler(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whoever reads its numbers says what is wrong with one that is no mapping."""
    scheduler = config.get("noise_scheduler")
    return scheduler if isinstance(scheduler, Mapping) else {}
