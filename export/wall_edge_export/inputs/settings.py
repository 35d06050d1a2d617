"""From a checkpoint and a robot to what the manifest must say: nothing is guessed.

A setting comes from ROBOT.yaml's ``model`` section, else from the ``wall_edge`` block of ``config.json``;
what is found in neither is asked for by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from wall_edge.bundle import (
    ActionSpace,
    Embodiment,
    ImageGeometry,
    Reference,
    StateText,
    TimeSchedule,
    Wording,
)
from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.files import shown
from wall_edge.policies.prompt_text import view_name
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.lerobot_policy import LeRobotPolicy
from wall_edge_export.checkpoint.outline import Outline
from wall_edge_export.inputs.cameras import CameraBlock, camera_geometries
from wall_edge_export.inputs.embodiment import JointUnit, embodiment
from wall_edge_export.inputs.statistics import action_padding
from wall_edge_export.inputs.trained import Trained, state_text, trained
from wall_edge_export.model.family import FAMILIES

T = TypeVar("T")


@dataclass(frozen=True)
class CheckpointBlock(ModelConfig):
    """The ``wall_edge`` block of ``config.json``: what WALL-OSS keeps in its training setup."""

    cameras: dict[str, CameraBlock] | None = None
    prompt_wording: Wording | None = None
    """Whose words its prompts were in; none for its own kind's, LeRobot's or upstream's."""


@dataclass(frozen=True)
class ChunkSettings:
    """What an action chunk is made from, whatever robot moves by it."""

    cameras: dict[str, ImageGeometry]
    horizon: int
    action_rate_hz: float
    time_grid: tuple[float, ...]
    time_schedule: TimeSchedule = TimeSchedule()  # noqa: RUF009 - frozen
    """How another number of steps becomes times."""
    state_text: StateText | None = None
    """How the prompt spells the state; None where a token carries it."""
    wording: Wording = "lerobot"
    action_space: ActionSpace | None = None
    """What the system turn calls the actions where it describes the robot; None for the plain one."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings(ChunkSettings):
    """What the graphs alone do not tell."""

    embodiment: Embodiment
    padding: tuple[float, ...] | None = None
    """By slot of the model, the normalised action of what is masked; None in the first family."""


def resolve_settings(checkpoint: Checkpoint, robot: RobotConfig | None) -> ExportSettings:
    """Collect and check; raises :class:`ConfigError` or :class:`CheckpointError` naming what is missing."""
    block = _merged_block(checkpoint, robot)
    joints = embodiment(
        checkpoint,
        robot,
        statistics=block.robot,
        unit=block.unit or _checkpoint_unit(checkpoint, robot),
        reference=_reference(block.action_reference, robot),
    )
    filled = FAMILIES[checkpoint.shape.family].fills_slots
    padding = action_padding(checkpoint, block.robot) if filled else None
    return ExportSettings(**vars(chunk_settings(checkpoint, robot)), embodiment=joints, padding=padding)


def chunk_settings(outline: Outline, robot: RobotConfig | None) -> ChunkSettings:
    """The part that neither joints nor statistics decide; raises as :func:`resolve_settings` does."""
    block, block_of_files, training = _merged_block(outline, robot), _block(outline), trained(outline)
    wording = block.prompt_wording or _wording(outline)
    cameras = camera_geometries(outline, robot, block.cameras or {}, block_of_files.resolution)
    _refuse_other_labels(training, cameras, wording)
    return ChunkSettings(
        cameras=cameras,
        horizon=_require("horizon", block.horizon or training.horizon),
        action_rate_hz=_require("action_rate_hz", block.action_rate_hz),
        time_grid=block.time_grid or training.schedule.grid(block.integration_steps or training.steps),
        time_schedule=training.schedule,
        state_text=state_text(outline, robot, block_of_files),
        wording=wording,
        action_space=_action_space(block, training),
    )


def _action_space(block: CheckpointBlock, training: Trained) -> ActionSpace | None:
    if training.describes_robot:
        return _require("prompt_action_space (Abs EEF or Rel EEF)", block.prompt_action_space)
    return block.prompt_action_space


def _wording(outline: Outline) -> Wording:
    """Whose words the prompts are in, where nobody says."""
    if not outline.shape.state_token:
        return "wall-oss-0.5"
    return "upstream" if outline.policy is None else "lerobot"


def _refuse_other_labels(training: Trained, cameras: Mapping[str, object], wording: Wording) -> None:
    """``data.camera_name_mapping`` may call a camera anything; prompts here call it by the table of views."""
    for camera, label in training.camera_names.items():
        expected = view_name(camera, wording)
        if camera in cameras and label != expected:
            raise CheckpointError(
                f"data.camera_name_mapping calls {shown(camera, 64)} {shown(repr(label), 64)}",
                expected=f"{expected!r}, which is what prompts here say",
                fix="export a policy that was trained with these words",
            )


def _merged_block(outline: Outline, robot: RobotConfig | None) -> CheckpointBlock:
    """ROBOT.yaml's word before the checkpoint's block, and that before what LeRobot saved."""
    from_checkpoint = {key: value for key, value in vars(_block(outline)).items() if value is not None}
    section = robot.model if robot is not None and robot.model is not None else ModelConfig()
    from_robot = {key: value for key, value in vars(section).items() if value is not None}
    if not {"integration_steps", "time_grid"}.isdisjoint(from_robot):
        from_checkpoint = {
            key: value
            for key, value in from_checkpoint.items()
            if key not in ("integration_steps", "time_grid")
        }
    return CheckpointBlock(**{**_lerobot_block(outline.policy), **from_checkpoint, **from_robot})


def _block(outline: Outline) -> CheckpointBlock:
    block = outline.config.get("wall_edge", {})
    return from_mapping(CheckpointBlock, block, _where(outline), CheckpointError, path="wall_edge")


def _lerobot_block(policy: LeRobotPolicy | None) -> dict[str, Any]:
    if policy is None:
        return {}
    if not policy.predicts_flow:
        raise CheckpointError(
            f"{policy.folder / 'config.json'}: a policy that predicts FAST tokens",
            expected="prediction_mode: diffusion",
            fix="only the flow actions of LeRobot's policies are supported yet",
        )
    cameras = {name: CameraBlock(width, height) for name, (width, height) in policy.cameras().items()}
    return {"cameras": cameras or None}


def _checkpoint_unit(outline: Outline, robot: RobotConfig | None) -> JointUnit | None:
    """LeRobot's datasets are in degrees, in rad or in per cent of a range, and nothing says which."""
    if outline.policy is None or (robot is not None and robot.embodiment is not None):
        return None
    return _require("unit (rad or deg; where joints differ, embodiment says it of each)", None)


def _reference(general: Reference | None, robot: RobotConfig | None) -> Reference:
    """Of all actions; not asked for where every entry of ``embodiment`` says its own, or moves nothing."""
    entries = robot.embodiment.action.values() if robot is not None and robot.embodiment is not None else ()
    if entries and all(getattr(entry, "reference", "absolute") is not None for entry in entries):
        return general or "absolute"
    return _require("action_reference", general)


def _where(outline: Outline) -> str:
    policy = outline.policy
    return str((policy.folder if policy is not None else outline.folder) / "config.json")


def _require(key: str, value: T | None) -> T:
    if value is None:
        raise ConfigError(
            f"the checkpoint does not say its {key}",
            expected=f"model.{key} in ROBOT.yaml",
            fix="add it and pass --robot ROBOT.yaml",
        )
    return value
