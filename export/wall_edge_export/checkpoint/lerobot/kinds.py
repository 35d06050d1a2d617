"""The settings of LeRobot's policy types, ``config.json`` of a policy's folder.

Formats are those of lerobot 0.4.4 (``policies/wall_x``) and of its open pull request 4200
(``policies/wall_oss_05``, commits of July and August 2026, which differ: what only some of them have is
noted where it is read). ``wall_x`` saves no architecture, which is its base's; ``wall_oss_05`` has it in
``vlm_config``, and computes in one way whatever else that says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wall_edge.checks import MAX_SLOTS, between
from wall_edge.config_loader import Invalid
from wall_edge_export.model.config import flattened

WALL_X, WALL_OSS_05 = "wall_x", "wall_oss_05"
STATE, ACTION = "observation.state", "action"
IMAGES = "observation.images."


@dataclass(frozen=True)
class Feature:
    """Kind and shape of one of a policy's inputs or outputs."""

    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """What both types have."""

    input_features: dict[str, Feature]
    output_features: dict[str, Feature]
    chunk_size: int = 32
    n_obs_steps: int = 1

    def __post_init__(self) -> None:
        if self.n_obs_steps != 1:
            raise Invalid("n_obs_steps", self.n_obs_steps, expected="1: one observation")
        between("chunk_size", self.chunk_size, 1, 1024, "actions")
        for key in ("max_action_dim", "max_state_dim"):
            between(key, getattr(self, key), 1, MAX_SLOTS)


@dataclass(frozen=True)
class WallX(Settings):
    """``wall_x``: the first family."""

    max_action_dim: int = 20
    max_state_dim: int = 20
    prediction_mode: str = "diffusion"
    pretrained_name_or_path: str = "x-square-robot/wall-oss-flow"
    recipe_path: str | None = None
    recipe: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe_path or self.recipe:  # of LeRobot's later versions
            raise Invalid("recipe", self.recipe_path or self.recipe, expected="none: prompts of wall_x alone")

    @property
    def predicts_flow(self) -> bool:
        return self.prediction_mode == "diffusion"


@dataclass(frozen=True)
class WallOss05(Settings):
    """``wall_oss_05``. A recipe is of training alone: an action is asked for in the same words without
    one."""

    max_action_dim: int = 26
    max_state_dim: int = 26
    num_inference_timesteps: int = 10
    action_branch: str = "flow"
    pretrained_name_or_path: str = "lerobot/wall-oss-0.5"
    vlm_config: dict[str, Any] | None = None
    camera_key_mapping: dict[str, str] = field(
        default_factory=lambda: {f"{IMAGES}{view}": view for view in ("face_view", "right_wrist_view")}
    )
    """Names in the prompt by feature, in the prompt's order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("num_inference_timesteps", self.num_inference_timesteps, 1, 1000)
        names = list(self.camera_key_mapping.values())
        if len(set(names)) < len(names):
            raise Invalid("camera_key_mapping", names, expected="a name of its own for each camera")

    @property
    def predicts_flow(self) -> bool:
        return self.action_branch == "flow"


COMPUTED: Mapping[str, object] = {
    "attention_moe": True,
    "mlp_moe": True,
    "norm_moe": True,
    "use_adarms": False,
    "proj_with_mask": True,
    "use_state_string_representation": True,
    "causal_action_attention_mask": True,
    "use_x_pred": False,
}
"""What ``wall_oss_05``'s code does (``modeling_wall_oss_05.py``), which asks none of these settings."""


def architecture(settings: WallOss05, vlm_config: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings as upstream's ``config.json`` has them.

    Raises :class:`Invalid` for a setting of ``vlm_config`` that ``wall_oss_05`` does not compute.
    """
    vlm_config = flattened(vlm_config, "config.json: vlm_config")
    for key, value in COMPUTED.items():
        if vlm_config.get(key) not in (None, value):
            raise Invalid(
                f"vlm_config.{key}", vlm_config[key], expected=f"{value}, which wall_oss_05 computes"
            )
    layouts = {
        "dof_config": {"action": settings.max_action_dim},
        "agent_pos_config": {"state": settings.max_state_dim},
    }
    return {**vlm_config, **COMPUTED, **layouts, "tie_word_embeddings": True}
