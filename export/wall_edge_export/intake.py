"""From a checkpoint and a robot to what the manifest must say: nothing is guessed.

A setting comes from ROBOT.yaml's ``model`` section, else from the ``wall_edge`` block of ``config.json``;
what is found in neither is asked for by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from wall_edge.bundle import Embodiment, Normalization
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.geometry import ImageGeometry

from .checkpoint import Checkpoint

T = TypeVar("T", int, float, str)


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
    block = checkpoint.config.get("wall_edge", {})
    asked = asdict(robot.model) if robot is not None and robot.model is not None else {}
    given = {**block, **{key: value for key, value in asked.items() if value is not None}}
    scheduler = checkpoint.config.get("noise_scheduler", {})
    return Settings(
        embodiment=_embodiment(checkpoint, robot, given),
        cameras=_cameras(checkpoint, robot, given),
        horizon=_setting(given, "horizon", int),
        action_rate_hz=_setting(given, "action_rate_hz", float),
        integration_steps=int(given.get("integration_steps", scheduler.get("num_inference_timesteps", 10))),
    )


def _setting(given: Mapping[str, Any], key: str, kind: type[T]) -> T:
    if key not in given:
        raise ConfigError(
            f"the checkpoint does not say its {key}",
            expected=f"model.{key} in ROBOT.yaml",
            fix="add it and pass --robot ROBOT.yaml",
        )
    value = given[key]
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind):
        raise ConfigError(f"{key} is {value!r}", expected=f"a value of type {kind.__name__}")
    return value


def dof_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """One name a degree of freedom: a group of one keeps its name, larger groups are numbered."""
    names: list[str] = []
    for group, count in config["dof_config"].items():
        names += [group] if count == 1 else [f"{group}_{number}" for number in range(count)]
    return tuple(names)


def _embodiment(checkpoint: Checkpoint, robot: RobotConfig | None, given: Mapping[str, Any]) -> Embodiment:
    names = dof_names(checkpoint.config)
    if robot is not None:
        joints = tuple(joint.name for joint in robot.drive.joints)
        if joints != names:
            raise ConfigError(
                f"ROBOT.yaml's joints {', '.join(joints)}",
                expected=f"the checkpoint's degrees of freedom {', '.join(names)}, in this order",
                fix="rename or reorder drive.joints, or take the checkpoint of this robot",
            )
    reference = _setting(given, "action_reference", str)
    if reference not in ("absolute", "state"):
        raise ConfigError(f"action_reference is {reference!r}", expected="'absolute' or 'state'")
    statistics = _statistics(checkpoint, given.get("robot"))
    return Embodiment(
        name=robot.name if robot is not None else str(given.get("robot", "unnamed")),
        dof_names=names,
        unit="rad",
        action_reference=reference,
        state=_normalization(statistics["propri"], clip=1.0),
        action=_normalization(statistics["action"], clip=None),
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


def _normalization(values: Mapping[str, npt.NDArray[np.float64]], *, clip: float | None) -> Normalization:
    """Upstream's rule: to [-1, 1] by ``2·(x - min)/delta - 1``."""
    low, delta = values["min"], values["delta"]
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(delta)) and np.all(delta > 0)):
        raise CheckpointError(
            f"normaliser min {low.tolist()}, delta {delta.tolist()}", expected="delta above 0"
        )
    return Normalization(tuple((low + delta / 2).tolist()), tuple((delta / 2).tolist()), clip)


def _cameras(
    checkpoint: Checkpoint, robot: RobotConfig | None, given: Mapping[str, Any]
) -> dict[str, ImageGeometry]:
    """Geometry by camera in the order of the prompt: the checkpoint's own, else ROBOT.yaml's."""
    known: dict[str, dict[str, int]] = given.get("cameras", {})
    sizes = {name: (int(c["width"]), int(c["height"])) for name, c in known.items()}
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
    default = int(given.get("resolution", ImageGeometry(1, 1).resolution))
    return {
        name: ImageGeometry(
            width=width,
            height=height,
            resolution=int(known.get(name, {}).get("resolution", default)),
            patch_size=vision.patch_size,
            merge_size=vision.spatial_merge_size,
            temporal_patch_size=vision.temporal_patch_size,
        )
        for name, (width, height) in sizes.items()
    }
