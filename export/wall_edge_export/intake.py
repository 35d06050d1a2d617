"""From a checkpoint and a robot to what the manifest must say: nothing is guessed.

A setting comes from ROBOT.yaml's ``model`` section, else from the ``wall_edge`` block of ``config.json``;
what is found in neither is asked for by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from wall_edge.bundle import Embodiment
from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.flow import uniform_grid
from wall_edge.geometry import ImageGeometry
from wall_edge.loader import Invalid, from_mapping, read_yaml
from wall_edge.prompt import Wording
from wall_edge.vision import CLIP_MEAN, CLIP_STD

from .checkpoint import Checkpoint
from .embodiment import Unit, embodiment
from .lerobot_policy import LeRobotPolicy

T = TypeVar("T")


@dataclass(frozen=True)
class CameraBlock:
    """A camera that the checkpoint was trained with. Sizes in pixels."""

    width: int
    height: int
    resolution: int | None = None


@dataclass(frozen=True)
class CheckpointBlock(ModelConfig):
    """The ``wall_edge`` block of ``config.json``: what WALL-OSS keeps in its training setup."""

    cameras: dict[str, CameraBlock] | None = None
    prompt_wording: Wording | None = None
    """Whose words its prompts were in; none for its own kind's, LeRobot's or upstream's."""


@dataclass(frozen=True)
class Settings:
    """What the graphs alone do not tell."""

    embodiment: Embodiment
    cameras: dict[str, ImageGeometry]
    horizon: int
    action_rate_hz: float
    time_grid: tuple[float, ...]
    wording: Wording = "lerobot"


def settings(checkpoint: Checkpoint, robot: RobotConfig | None) -> Settings:
    """Collect and check; raises :class:`ConfigError` or :class:`CheckpointError` naming what is missing."""
    _check_preprocessor(checkpoint.config_folder / "preprocessor_config.json")
    given = _given(checkpoint, robot)
    return Settings(
        embodiment=embodiment(
            checkpoint,
            robot,
            statistics=given.robot,
            unit=given.unit or _own_unit(checkpoint),
            reference=_asked("action_reference", given.action_reference),
        ),
        cameras=_cameras(checkpoint, robot, given),
        horizon=_asked("horizon", given.horizon),
        action_rate_hz=_asked("action_rate_hz", given.action_rate_hz),
        time_grid=given.time_grid or uniform_grid(given.integration_steps or _scheduler_steps(checkpoint)),
        wording=given.prompt_wording or ("upstream" if checkpoint.policy is None else "lerobot"),
    )


def _given(checkpoint: Checkpoint, robot: RobotConfig | None) -> CheckpointBlock:
    """ROBOT.yaml's word before the checkpoint's block, and that before what LeRobot saved."""
    where = _where(checkpoint)
    block = from_mapping(CheckpointBlock, checkpoint.config.get("wall_edge", {}), where, CheckpointError)
    own = {key: value for key, value in vars(block).items() if value is not None}
    asked = robot.model if robot is not None and robot.model is not None else ModelConfig()
    wanted = {key: value for key, value in vars(asked).items() if value is not None}
    if not {"integration_steps", "time_grid"}.isdisjoint(wanted):
        own = {key: value for key, value in own.items() if key not in ("integration_steps", "time_grid")}
    return CheckpointBlock(**{**_lerobot_block(checkpoint.policy), **own, **wanted})


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


def _own_unit(checkpoint: Checkpoint) -> Unit:
    """LeRobot's datasets are in degrees, in rad or in per cent of a range, and nothing says which."""
    return "rad" if checkpoint.policy is None else _asked("unit (rad or deg)", None)


def _where(checkpoint: Checkpoint) -> str:
    policy = checkpoint.policy
    return str((policy.folder if policy is not None else checkpoint.folder) / "config.json")


@dataclass(frozen=True)
class _Preprocessor:
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None


def _check_preprocessor(path: Path) -> None:
    """Frames are normalised with CLIP's statistics; a checkpoint that wants others is refused."""
    if not path.is_file():
        return
    found = from_mapping(
        _Preprocessor, read_yaml(path, CheckpointError), str(path), CheckpointError, strict=False
    )
    for name, given, ours in (
        ("image_mean", found.image_mean, CLIP_MEAN),
        ("image_std", found.image_std, CLIP_STD),
    ):
        if given is not None and not (len(given) == len(ours) and np.allclose(given, ours, atol=1e-6)):
            raise CheckpointError(f"{path}: {name} {list(given)}", expected=f"CLIP's {ours.tolist()}")


@dataclass(frozen=True)
class _Scheduler:
    num_inference_timesteps: int = 10


def _scheduler_steps(checkpoint: Checkpoint) -> int:
    if checkpoint.policy is not None:
        return checkpoint.policy.integration_steps
    where, given = _where(checkpoint), checkpoint.config.get("noise_scheduler", {})
    steps = from_mapping(_Scheduler, given, where, CheckpointError, strict=False).num_inference_timesteps
    if steps < 1:
        raise CheckpointError(f"{where}: num_inference_timesteps is {steps}", expected="at least 1")
    return steps


def _asked(key: str, value: T | None) -> T:
    if value is None:
        raise ConfigError(
            f"the checkpoint does not say its {key}",
            expected=f"model.{key} in ROBOT.yaml",
            fix="add it and pass --robot ROBOT.yaml",
        )
    return value


def _cameras(
    checkpoint: Checkpoint, robot: RobotConfig | None, given: CheckpointBlock
) -> dict[str, ImageGeometry]:
    """Geometry by camera in the order of the prompt: the checkpoint's own, else ROBOT.yaml's."""
    known = given.cameras or {}
    sizes = {name: (camera.width, camera.height) for name, camera in known.items()}
    if robot is not None:
        if known and set(known) != set(robot.cameras):
            raise ConfigError(
                f"ROBOT.yaml's cameras {', '.join(robot.cameras)}",
                expected=f"the checkpoint's cameras {', '.join(known)}",
            )
        order = known or robot.cameras
        sizes = {name: (robot.cameras[name].width, robot.cameras[name].height) for name in order}
    if not sizes:
        raise ConfigError(
            "the checkpoint does not say its cameras",
            expected="cameras with width and height in ROBOT.yaml",
            fix="pass --robot ROBOT.yaml",
        )
    vision = checkpoint.shape.vision
    geometries = {}
    for name, (width, height) in sizes.items():
        own = known[name].resolution if name in known else None
        try:
            geometries[name] = ImageGeometry(
                width=width,
                height=height,
                resolution=own or given.resolution or ImageGeometry.resolution,
                patch_size=vision.patch_size,
                merge_size=vision.spatial_merge_size,
                temporal_patch_size=vision.temporal_patch_size,
            )
        except Invalid as problem:
            raise ConfigError(f"camera {name}: {problem}") from problem
    return geometries
