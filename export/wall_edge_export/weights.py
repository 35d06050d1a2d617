"""A folder's safetensors, one file or shards: names and shapes from the headers, values only when asked for.

Two name prefixes are in use: upstream's (``visual.…``, ``model.layers.…``, ``action_preprocessor.…``) and
LeRobot's, which puts ``model.`` before each of them. Names here are always upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from wall_edge import files
from wall_edge.errors import CheckpointError

REDO = "copy or download the checkpoint again"
_INDEX = "model.safetensors.index.json"
_LEROBOT_PREFIX = "model."
_LEROBOT_MARK = "model.action_preprocessor."


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is: the file, its key in it, and its shape."""

    path: Path
    key: str
    shape: tuple[int, ...]

    def read(self) -> Tensor:
        """The values, as stored. The file is mapped only while the tensor lives."""
        with safe_open(self.path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(self.key)
        return tensor


def stored_weights(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a checkpoint folder by name; each header is read once.

    Raises :class:`CheckpointError` for a file that is missing or damaged, or lacks what the index promises.
    """
    shards = _index_map(folder / _INDEX) if (folder / _INDEX).is_file() else {}
    stored: dict[str, StoredTensor] = {}
    for path in _files(folder, shards):
        stored |= read_header(path)
    for name, shard in shards.items():
        if name not in stored:
            raise CheckpointError(f"{folder / shard}: tensor {name} is missing from its shard", fix=REDO)
    if any(name.startswith(_LEROBOT_MARK) for name in stored):
        return {name.removeprefix(_LEROBOT_PREFIX): tensor for name, tensor in stored.items()}
    return stored


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file by name.

    Of tensors that share their values (tied embeddings), safetensors' ``save_model`` stores one and notes the
    names of the others in the metadata; both names are given here.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        size = f" ({path.stat().st_size} bytes)" if path.is_file() else ""
        raise CheckpointError(
            f"{path}: {error}{size}", expected="a whole safetensors file", fix=REDO
        ) from error
    stored = {key: StoredTensor(path, key, shape) for key, shape in shapes.items()}
    return {name: stored[kept] for name, kept in metadata.items() if kept in stored} | stored


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint; raises :class:`CheckpointError`."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or directory", expected=expected, fix=REDO)
    loaded = files.read_json(path, CheckpointError, fix=REDO)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}", expected="an object", fix=REDO)
    return loaded


def _files(folder: Path, shards: dict[str, str]) -> list[Path]:
    paths = [folder / shard for shard in sorted(set(shards.values()))] or [folder / "model.safetensors"]
    for path in paths:
        if path.parent != folder or not path.is_file():
            raise CheckpointError(f"{path}: no such file", expected="the model's weights", fix=REDO)
    return paths


def _index_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index, "the shards' index").get("weight_map")
    named = isinstance(weight_map, dict) and all(isinstance(shard, str) for shard in weight_map.values())
    if not named or not weight_map:
        raise CheckpointError(f"{index}: no weight_map", expected="tensor names and their shards", fix=REDO)
    shards: dict[str, str] = weight_map
    return shards
