"""From a checkpoint and a robot to what the manifest must say: nothing is guessed.

A setting comes from ROBOT.yaml's ``model`` section, else from the ``wall_edge`` block of ``config.json``;
what is found in neither is asked for by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from wall_edge.bundle import Embodiment, Normalization
from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.geometry import ImageGeometry
from wall_edge.loader import Invalid, from_mapping, read_yaml
from wall_edge.vision import CLIP_MEAN, CLIP_STD

from .checkpoint import Checkpoint

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


@dataclass(frozen=True)
class Settings:
    """What the graphs alone do not tell."""

    embodiment: Embodiment
    cameras: dict[str, ImageGeometry]
    horizon: int
    action_rate_hz: float
    integration_steps: int


def settings(checkpoint: Checkpoint, robot: RobotConfig | None) -> Settings:
    """Collect and check; raises :class:`ConfigError` or :class:`CheckpointError` naming what is missing."""
    _check_preprocessor(checkpoint.folder / "preprocessor_config.json")
    where = str(checkpoint.folder / "config.json")
    block = from_mapping(CheckpointBlock, checkpoint.config.get("wall_edge", {}), where, CheckpointError)
    asked = robot.model if robot is not None and robot.model is not None else ModelConfig()
    given = replace(block, **{key: value for key, value in asdict(asked).items() if value is not None})
    return Settings(
        embodiment=_embodiment(checkpoint, robot, given),
        cameras=_cameras(checkpoint, robot, given),
        horizon=_asked("horizon", given.horizon),
        action_rate_hz=_asked("action_rate_hz", given.action_rate_hz),
        integration_steps=given.integration_steps or _scheduler_steps(checkpoint, where),
    )


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


def _scheduler_steps(checkpoint: Checkpoint, where: str) -> int:
    given = checkpoint.config.get("noise_scheduler", {})
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


def dof_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """One name a degree of freedom: a group of one keeps its name, larger groups are numbered."""
    names: list[str] = []
    for group, count in config["dof_config"].items():
        names += [group] if count == 1 else [f"{group}_{number}" for number in range(count)]
    return tuple(names)


def _embodiment(checkpoint: Checkpoint, robot: RobotConfig | None, given: CheckpointBlock) -> Embodiment:
    names = dof_names(checkpoint.config)
    if robot is not None:
        joints = tuple(joint.name for joint in robot.drive.joints)
        if joints != names:
            raise ConfigError(
                f"ROBOT.yaml's joints {', '.join(joints)}",
                expected=f"the checkpoint's degrees of freedom {', '.join(names)}, in this order",
                fix="rename or reorder drive.joints, or take the checkpoint of this robot",
            )
    shape = checkpoint.shape
    if shape.state_dof != shape.action_dof or len(set(names)) != len(names):
        raise ConfigError(
            f"{shape.action_dof} action and {shape.state_dof} state degrees of freedom: {', '.join(names)}",
            expected="as many of one as of the other, with different names",
            fix="this daemon drives joints whose state it reads back; other layouts are not supported yet",
        )
    statistics = _statistics(checkpoint, given.robot)
    return Embodiment(
        name=robot.name if robot is not None else given.robot or "unnamed",
        dof_names=names,
        unit="rad",
        action_reference=_asked("action_reference", given.action_reference),
        state=_normalization(statistics["propri"], len(names), clip=1.0),
        action=_normalization(statistics["action"], len(names), clip=None),
        lower=robot.per_joint(lambda joint: joint.lower) if robot is not None else None,
        upper=robot.per_joint(lambda joint: joint.upper) if robot is not None else None,
    )


def _statistics(checkpoint: Checkpoint, robot: str | None) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """``action`` and ``propri`` → ``min`` and ``delta`` of the robot."""
    found: dict[str, dict[str, dict[str, npt.NDArray[np.float64]]]] = {}
    for kind, statistic, name, values in checkpoint.normalizers():
        found.setdefault(name, {}).setdefault(kind, {})[statistic] = values.double().numpy()
    if not found:
        raise CheckpointError(
            f"{checkpoint.folder}: no normalisation statistics",
            expected="tensors action_preprocessor.normalizer_{action,propri}.{min,delta}.ROBOT",
            fix="export a fine-tuned checkpoint; LeRobot's processor files are not read yet",
        )
    chosen = robot if robot is not None else (next(iter(found)) if len(found) == 1 else None)
    if chosen not in found:
        raise CheckpointError(
            f"{checkpoint.folder}: normalisation for robot {chosen!r}",
            expected=f"one of {', '.join(sorted(found))}",
            fix="set model.robot in ROBOT.yaml and pass --robot",
        )
    for kind in ("action", "propri"):
        if set(found[chosen].get(kind, {})) != {"min", "delta"}:
            raise CheckpointError(
                f"{checkpoint.folder}: normalizer_{kind}.*.{chosen}", expected="min and delta"
            )
    return found[chosen]


def _normalization(
    values: Mapping[str, npt.NDArray[np.float64]], dof: int, *, clip: float | None
) -> Normalization:
    """Upstream's rule: to [-1, 1] by ``2·(x - min)/delta - 1``."""
    low, delta = values["min"], values["delta"]
    finite = np.all(np.isfinite(low)) and np.all(np.isfinite(delta))
    if low.shape != (dof,) or delta.shape != (dof,) or not finite or not np.all(delta > 0):
        raise CheckpointError(
            f"normaliser min {low.tolist()}, delta {delta.tolist()}",
            expected=f"{dof} finite numbers each, delta above 0",
            fix="use the statistics that were saved with these weights",
        )
    return Normalization(tuple((low + delta / 2).tolist()), tuple((delta / 2).tolist()), clip)


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
