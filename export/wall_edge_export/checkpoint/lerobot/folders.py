"""Which folder has what where LeRobot saved a policy: settings, architecture and tokenizer, statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.lerobot_policy import TYPES, LeRobotPolicy
from wall_edge_export.checkpoint.weights import read_json


def read_settings(folder: Path) -> dict[str, Any]:
    """``config.json``, of a model or of a policy. Raises :class:`CheckpointError`."""
    return read_json(folder / "config.json", "the model's config.json")


def model_config(folder: Path) -> dict[str, Any]:
    """The model's settings, also where LeRobot's policy has them among its own."""
    config = read_settings(folder)
    own = LeRobotPolicy(folder, config).architecture if config.get("type") in TYPES else None
    return config if own is None else own


def _is_policy(folder: Path) -> bool:
    return (folder / "config.json").is_file() and read_settings(folder).get("type") in TYPES


def policy_of(folder: Path, adapter: Path | None) -> LeRobotPolicy | None:
    """LeRobot's settings: the adapter's, which was trained last, before the checkpoint's own."""
    for holder in (adapter, folder):
        if holder is not None and _is_policy(holder):
            return LeRobotPolicy(holder, read_settings(holder))
    return None


def config_folder(folder: Path, base: Path | None) -> Path:
    """Where the architecture and the tokenizer are: the base's, or a policy's own where it has them."""
    if not _is_policy(folder):
        if base is not None:
            raise CheckpointError(
                f"{folder}: has a config.json of its own",
                expected="a policy that LeRobot saved, beside --base",
                fix="leave out --base",
            )
        return folder
    policy = LeRobotPolicy(folder, read_settings(folder))
    if base is None:
        if policy.architecture is not None:
            return folder
        raise CheckpointError(
            f"{folder}: a policy that LeRobot saved, without the model's architecture and tokenizer",
            expected="the model that it was trained from",
            fix=f"pass --base {shown(policy.base)} (a folder or a Hub id)",
        )
    other = LeRobotPolicy(base, read_settings(base)) if _is_policy(base) else None
    if other is not None and (other.architecture is None or other.type != policy.type):
        raise CheckpointError(
            f"{base}: a policy that LeRobot saved",
            expected="the WALL-OSS model with config.json and tokenizer.json as --base",
            fix=f"pass the base of this policy: {shown(other.base)}",
        )
    return base
