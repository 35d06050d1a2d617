"""A folder's safetensors, one file or shards: names and shapes from the headers, values only when asked for.

What other tools put in front of a name or into it (LeRobot, FSDP, torch.compile, PEFT, newer transformers) is
taken off: names here are always upstream's (``visual.…``, ``model.layers.…``, ``action_preprocessor.…``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from wall_edge import files
from wall_edge.errors import CheckpointError
from wall_edge_export.checkpoint.names import upstream_names
from wall_edge_export.checkpoint.tensor_types import refuse_quantised, refuse_quantised_types

REDO = "copy or download the checkpoint again"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_WHOLE = 1 << 50
"""No bound on the size of a file that is mapped, never read whole."""
_HEADER_BYTES = 64 << 20
SETTINGS_BYTES = 1 << 20
"""A config.json takes some 5 kB, statistics of a robot 4: a megabyte of entries is checked within 2 s."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is: the file, its key in it, its shape and the safetensors name of its type."""

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: str = "F32"

    def read(self) -> Tensor:
        """The values, as stored. The file is mapped only while the tensor lives."""
        try:
            with safe_open(self.path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(self.key)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{self.path}: {self.key}: {error}", expected="a whole file", fix=REDO
            ) from error
        return tensor

    def read_few(self, most: int) -> Tensor:
        """The values of a tensor that has no reason to hold more than ``most``; else nothing is read."""
        count = math.prod(self.shape)
        if count > most:
            raise CheckpointError(
                f"{self.path}: {files.shown(self.key)}: {files.shown(count, 60)} values",
                expected=f"at most {most}",
                fix=REDO,
            )
        return self.read()

    def rows(self, part: slice) -> Tensor:
        """Some of the rows, as stored."""
        try:
            with safe_open(self.path, framework="pt") as file:
                tensor: Tensor = file.get_slice(self.key)[part]
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{self.path}: {self.key}: {error}", expected="a whole file", fix=REDO
            ) from error
        return tensor


def stored_weights(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a checkpoint folder by name; each header is read once.

    With an index, a tensor comes from the shard where the index has it, whatever else the shards hold. Raises
    :class:`CheckpointError` for a file that is missing or damaged or lacks what the index promises, for names
    that mean one tensor twice, and for a quantised checkpoint.
    """
    shards = _index_map(folder / _INDEX) if (folder / _INDEX).exists() else {}
    stored: dict[str, StoredTensor] = {}
    for path in _files(folder, shards):
        held = read_header(path)
        stored |= {
            name: tensor
            for name, tensor in held.items()
            if not shards or shards.get(name) == path.name or _alias(name, tensor, shards, path)
        }
    for name, shard in shards.items():
        if name not in stored:
            raise CheckpointError(f"{folder / shard}: tensor {name} is missing from its shard", fix=REDO)
    refuse_quantised(folder, stored)
    return {name: stored[key] for name, key in upstream_names(folder, stored).items()}


def has_weights(folder: Path) -> bool:
    """Whether some file of a checkpoint's weights is there; what is in it nobody asks."""
    index = folder / _INDEX
    names = set(_index_map(index).values()) if index.exists() else {_WEIGHTS}
    return any((folder / name).exists() for name in names)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file by name.

    Of tensors that share their values (tied embeddings), safetensors' ``save_model`` stores one and notes the
    names of the others in the metadata; both names are given here.
    """
    header = _header(path)
    metadata = header.pop("__metadata__", None)
    refuse_quantised_types(path, header)
    try:
        with safe_open(
            path, framework="pt"
        ) as file:  # which compares sizes and offsets with the file's length
            keys = list(file.keys())
        stored = {
            key: StoredTensor(path, key, tuple(map(int, header[key]["shape"])), str(header[key]["dtype"]))
            for key in keys
        }
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    aliases = metadata.items() if isinstance(metadata, dict) else ()
    return {name: stored[kept] for name, kept in aliases if isinstance(kept, str) and kept in stored} | stored


def read_json(path: Path, expected: str, limit: int = SETTINGS_BYTES) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint; raises :class:`CheckpointError`."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or directory", expected=expected, fix=REDO)
    loaded = files.read_json(path, CheckpointError, limit, fix=REDO)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}", expected="an object", fix=REDO)
    return loaded


def _alias(name: str, tensor: StoredTensor, shards: Mapping[str, str], path: Path) -> bool:
    """Whether a shard's metadata names a tensor twice, of which the index has the stored one there."""
    return name not in shards and name != tensor.key and shards.get(tensor.key) == path.name


def _header(path: Path) -> dict[str, Any]:
    """The JSON header; a key that stands twice is refused, a pipe or a device never read."""
    with files.open_regular(path, CheckpointError, _WHOLE, REDO) as file:
        count = int.from_bytes(file.read(8), "little")
        if count > _HEADER_BYTES:
            raise _damaged(path, f"a header of {count} bytes")
        try:
            text = file.read(count).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(path, error) from None
    try:
        header = files.parse_json(text, str(path), CheckpointError, REDO)
    except CheckpointError as error:
        raise _damaged(path, error) from None
    if not isinstance(header, dict):
        raise _damaged(path, "no header")
    return header


def _damaged(path: Path, problem: object) -> CheckpointError:
    size = f" ({path.stat().st_size} bytes)" if path.is_file() else ""
    return CheckpointError(
        f"{path}: {files.shown(problem)}{size}", expected="a whole safetensors file", fix=REDO
    )


def _files(folder: Path, shards: Mapping[str, str]) -> list[Path]:
    paths = [folder / shard for shard in sorted(set(shards.values()))] or [folder / _WEIGHTS]
    for path in paths:
        if path.parent != folder or not path.exists():
            raise CheckpointError(f"{path}: no such file", expected="the model's weights", fix=REDO)
    if shards and folder / _WEIGHTS not in paths and (folder / _WEIGHTS).exists():
        raise CheckpointError(
            f"{folder}: {_WEIGHTS} beside an index of shards",
            expected="one of them: they may hold different weights",
            fix=f"remove {_WEIGHTS}, or {_INDEX} and its shards",
        )
    return paths


def _index_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index, "the shards' index", files.TEXT_BYTES).get("weight_map")
    named = isinstance(weight_map, dict) and all(isinstance(shard, str) for shard in weight_map.values())
    if not named or not weight_map:
        raise CheckpointError(f"{index}: no weight_map", expected="tensor names and their shards", fix=REDO)
    shards: dict[str, str] = weight_map
    if odd := [shard for shard in shards.values() if not files.is_plain_name(shard)]:
        raise CheckpointError(
            f"{index.parent / files.shown(odd[0])}: no such file",
            expected="shards beside the index",
            fix=REDO,
        )
    return shards
