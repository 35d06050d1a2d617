"""A WALL-OSS checkpoint folder, read lazily: names and shapes first, each tensor only when asked for.

Two name prefixes are in use: upstream's (``visual.…``, ``model.layers.…``, ``action_preprocessor.…``) and
LeRobot's, which puts ``model.`` before each of them. Only safetensors are read; nothing in a checkpoint is
ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wall_edge.errors import CheckpointError
from wall_edge.loader import from_mapping, read_yaml

from .model import ModelShape, WallModel, model_shape

_NORMALIZER = "action_preprocessor.normalizer_"
_LEROBOT_PREFIX = "model."
_REDO = "copy or download the checkpoint again"


class Checkpoint:
    """``config.json`` and the tensors beside it. Raises :class:`CheckpointError` on anything missing."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise CheckpointError(
                f"{folder}: no such folder", expected="a checkpoint folder with config.json and safetensors"
            )
        self.folder = folder
        self.config = _config(folder)
        self.shape: ModelShape = model_shape(self.config)

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Upstream's tensor name → the file that holds it."""
        names = {name: path for path in _weight_files(self.folder) for name in _names(path)}
        _check_index(self.folder, names)
        if "model.action_preprocessor.w1.weight" in names:
            return {name.removeprefix(_LEROBOT_PREFIX): path for name, path in names.items()}
        return names

    @cached_property
    def _stored_prefix(self) -> str:
        any_name, path = next(iter(self._files.items()))
        return "" if any_name in _names(path) else _LEROBOT_PREFIX

    def weight_files(self) -> list[Path]:
        """The safetensors files, in order."""
        return sorted(set(self._files.values()))

    def tensor(self, name: str) -> Tensor:
        """One tensor, as stored."""
        path = self._files[name]
        with safe_open(path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(self._stored_prefix + name)
        return tensor

    def tensor_shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the header alone."""
        with safe_open(self._files[name], framework="pt") as file:
            return tuple(file.get_slice(self._stored_prefix + name).get_shape())

    def check(self) -> None:
        """Compare every tensor's name and shape with what ``config.json`` calls for."""
        with torch.device("meta"):
            wanted = {name: tuple(t.shape) for name, t in WallModel(self.shape).state_dict().items()}
        if self.shape.tied_embeddings and "lm_head.weight" not in self._files:
            del wanted["lm_head.weight"]
        for name, shape in wanted.items():
            if name not in self._files:
                raise CheckpointError(
                    f"{self.folder}: tensor {name} is missing",
                    expected=f"shape {list(shape)} by config.json",
                    fix=_REDO,
                )
            found = self.tensor_shape(name)
            if found != shape:
                raise CheckpointError(
                    f"{self.folder}: tensor {name} has shape {list(found)}",
                    expected=f"{list(shape)} by config.json",
                    fix="use the config.json that was saved with these weights",
                )
        self._refuse_unknown(set(wanted))

    def _refuse_unknown(self, wanted: set[str]) -> None:
        for name in self._files:
            if name in wanted or name.startswith(_NORMALIZER) or name.endswith("inv_freq"):
                continue
            if name == "lm_head.weight":
                continue
            raise CheckpointError(
                f"{self.folder}: tensor {name} is not part of a wall-oss-flow model",
                expected="shared attention, shared norms and two expert MLPs per layer",
                fix="this checkpoint is of a family member that is not supported yet",
            )

    def load(self) -> WallModel:
        """The model with float32 weights, in evaluation mode."""
        self.check()
        with torch.device("meta"):
            model = WallModel(self.shape)
        state = {name: self.tensor(name).float() for name in model.state_dict() if name in self._files}
        if "lm_head.weight" not in state:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        model.load_state_dict(state, assign=True)
        return model.eval()

    def normalizers(self) -> Iterator[tuple[str, str, str, Tensor]]:
        """Upstream's normaliser tensors: (``action`` or ``propri``, ``min`` or ``delta``, robot, values)."""
        for name in sorted(self._files):
            if name.startswith(_NORMALIZER):
                parts = name.removeprefix(_NORMALIZER).split(".", 2)
                if len(parts) != 3:
                    raise CheckpointError(f"tensor {name}", expected=f"{_NORMALIZER}KIND.STATISTIC.ROBOT")
                yield parts[0], parts[1], parts[2], self.tensor(name).float()


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = _json(path, "the model's config.json")
    for key, value in _training_yaml(folder).items():
        config.setdefault(key, value)
    return config


def _json(path: Path, expected: str) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path}: {(error.strerror or str(error)).lower()}", expected=expected, fix=_REDO
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {error}", expected="valid JSON", fix=_REDO) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}", expected="an object", fix=_REDO)
    return loaded


@dataclass(frozen=True)
class _CustomRobot:
    customized_dof_config: dict[str, int] | None = None
    customized_agent_pos_config: dict[str, int] | None = None


@dataclass(frozen=True)
class _TrainingConfig:
    dof_config: dict[str, int] | None = None
    agent_pos_config: dict[str, int] | None = None
    customized_robot_config: _CustomRobot | None = None


def _training_yaml(folder: Path) -> dict[str, Any]:
    """DoF layouts that fine-tuned checkpoints keep in upstream's training ``config.yml``."""
    path = folder / "config.yml"
    if not path.is_file():
        return {}
    loaded = from_mapping(
        _TrainingConfig, read_yaml(path, CheckpointError), str(path), CheckpointError, strict=False
    )
    custom = loaded.customized_robot_config or _CustomRobot()
    found = {
        "dof_config": custom.customized_dof_config or loaded.dof_config,
        "agent_pos_config": custom.customized_agent_pos_config or loaded.agent_pos_config,
    }
    return {key: value for key, value in found.items() if value}


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(_index_map(index).values()))
        paths = [folder / shard for shard in shards]
    else:
        paths = [folder / "model.safetensors"]
    for path in paths:
        if path.parent != folder or not path.is_file():
            raise CheckpointError(f"{path}: no such file", expected="the model's weights", fix=_REDO)
    return paths


def _index_map(index: Path) -> dict[str, str]:
    weight_map = _json(index, "the shards' index").get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index}: no weight_map", expected="tensor names and their shards", fix=_REDO)
    return weight_map


def _check_index(folder: Path, names: dict[str, Path]) -> None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    for name, shard in _index_map(index).items():
        if name not in names:
            raise CheckpointError(f"{folder / shard}: tensor {name} is missing from its shard", fix=_REDO)


def _names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: {error} ({path.stat().st_size} bytes)",
            expected="a whole safetensors file",
            fix=_REDO,
        ) from error
