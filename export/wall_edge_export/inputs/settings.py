"""From a checkpoint and a robot to what the manifest must say: nothing is guessed.

A setting comes from ROBOT.yaml's ``model`` section, else from the ``wall_edge`` block of ``config.json``;
what is found in neither is asked for by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from wall_edge.bundle import Embodiment, ImageGeometry, Wording, uniform_grid
from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.files import shown
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.lerobot_policy import LeRobotPolicy
from wall_edge_export.inputs.cameras import CameraBlock, camera_geometries
from wall_edge_export.inputs.embodiment import Unit, embodiment

T = TypeVar("T")


@dataclass(frozen=True)
class CheckpointBlock(ModelConfig):
    """The ``wall_edge`` block of ``config.json``: what WALL-OSS keeps in its training setup."""

    cameras: dict[str, CameraBlock] | None = None
    prompt_wording: Wording | None = None
    """Whose words its prompts were in; none for its own kind's, LeRobot's or upstream's."""


@dataclass(frozen=True)
class ExportSettings:
    """What the graphs alone do not tell."""

    embodiment: Embodiment
    cameras: dict[str, ImageGeometry]
    horizon: int
    action_rate_hz: float
    time_grid: tuple[float, ...]
    wording: Wording = "lerobot"


def resolve_settings(checkpoint: Checkpoint, robot: RobotConfig | None) -> ExportSettings:
    """Collect and check; raises :class:`ConfigError` or :class:`CheckpointError` naming what is missing."""
    block = _merged_block(checkpoint, robot)
    return ExportSettings(
        embodiment=embodiment(
            checkpoint,
            robot,
            statistics=block.robot,
            unit=block.unit or _checkpoint_unit(checkpoint),
            reference=_require("action_reference", block.action_reference),
        ),
        cameras=camera_geometries(checkpoint, robot, block.cameras or {}, _block(checkpoint).resolution),
        horizon=_require("horizon", block.horizon),
        action_rate_hz=_require("action_rate_hz", block.action_rate_hz),
        time_grid=block.time_grid or uniform_grid(block.integration_steps or _scheduler_steps(checkpoint)),
        wording=block.prompt_wording or ("upstream" if checkpoint.policy is None else "lerobot"),
    )


def _merged_block(checkpoint: Checkpoint, robot: RobotConfig | None) -> CheckpointBlock:
    """ROBOT.yaml's word before the checkpoint's block, and that before what LeRobot saved."""
    from_checkpoint = {key: value for key, value in vars(_block(checkpoint)).items() if value is not None}
    section = robot.model if robot is not None and robot.model is not None else ModelConfig()
    from_robot = {key: value for key, value in vars(section).items() if value is not None}
    if not {"integration_steps", "time_grid"}.isdisjoint(from_robot):
        from_checkpoint = {
            key: value
            for key, value in from_checkpoint.items()
            if key not in ("integration_steps", "time_grid")
        }
    return CheckpointBlock(**{**_lerobot_block(checkpoint.policy), **from_checkpoint, **from_robot})


def _block(checkpoint: Checkpoint) -> CheckpointBlock:
    block = checkpoint.config.get("wall_edge", {})
    return from_mapping(CheckpointBlock, block, _where(checkpoint), CheckpointError)


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
    return {"horizon": policy.horizon, "cameras": cameras or None}


def _checkpoint_unit(checkpoint: Checkpoint) -> Unit:
    """LeRobot's datasets are in degrees, in rad or in per cent of a range, and nothing says which."""
    return "rad" if checkpoint.policy is None else _require("unit (rad or deg)", None)


def _where(checkpoint: Checkpoint) -> str:
    policy = checkpoint.policy
    return str((policy.folder if policy is not None else checkpoint.folder) / "config.json")


@dataclass(frozen=True)
class _Scheduler:
    num_inference_timesteps: int = 10


def _scheduler_steps(checkpoint: Checkpoint) -> int:
    if checkpoint.policy is not None:
        return checkpoint.policy.integration_steps
    where, scheduler = _where(checkpoint), checkpoint.config.get("noise_scheduler", {})
    steps = from_mapping(_Scheduler, scheduler, where, CheckpointError, strict=False).num_inference_timesteps
    if not 1 <= steps <= 1000:
        what = f"{where}: num_inference_timesteps is {shown(steps, 60)}"
        raise CheckpointError(what, expected="at least 1, at most 1000")
    return steps


def _require(key: str, value: T | None) -> T:
    if value is None:
        raise ConfigError(
            f"the checkpoint does not say its {key}",
            expected=f"model.{key} in ROBOT.yaml",
            fix="add it and pass --robot ROBOT.yaml",
        )
    return value
