"""Random WALL-OSS checkpoints for measuring, written piece by piece: no tensor is ever held whole.

The safetensors format is an 8-byte little-endian header length, a JSON header and the tensors' bytes
(github.com/huggingface/safetensors). Sizes are known before any value is, so the header goes first.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wall_edge.errors import ConfigError
from wall_edge_export.checkpoint.names import HEAD, NORMALIZER
from wall_edge_export.checkpoint.views import with_fused_experts
from wall_edge_export.model.inventory import Weight, inventory
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.model.wall import WallModel
from wall_edge_export.reference.random_config import model_config, stored_shape
from wall_edge_export.reference.random_shapes import ROBOT, named_shape
from wall_edge_export.reference.random_tokenizer import build_tokenizer

SHARD_BYTES = 5_000_000_000
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_CODES = {torch.bfloat16: "BF16", torch.float32: "F32"}
_LEVELS = 1 << 16
_PIECE = 1 << 18
"""Values at a time: few enough for a core's cache, which is faster than more of them."""
_BIAS_STD = 0.02


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to be written and the distribution of its values; ``std`` 0 makes them all alike."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    mean: float = 0.0
    std: float = 0.0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class CheckpointSummary:
    """What :func:`write_random_checkpoint` made."""

    parameters: int
    bytes: int
    shards: tuple[str, ...]


def write_random_checkpoint(
    shape_name: str,
    out: Path,
    *,
    seed: int = 0,
    dtype: str = "bf16",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CheckpointSummary:
    """Write a checkpoint of a named shape to the new folder ``out``, whole or not at all.

    The same shape, seed and dtype give the same bytes. ``progress`` is told the bytes written and the
    bytes in all. Raises :class:`ConfigError` for an unknown name, an ``out`` that exists or a full disk.
    """
    shape = named_shape(shape_name)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r}", expected=f"one of {', '.join(DTYPES)}")
    tokenizer = build_tokenizer(shape)
    config = model_config(shape, tokenizer, str(DTYPES[dtype]).removeprefix("torch."))
    plan = planned_tensors(stored_shape(shape, config), DTYPES[dtype], fused=shape.later is not None)
    total = sum(tensor.bytes for tensor in plan)
    with _new_folder(out, total) as folder:
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        tokenizer.save(str(folder / "tokenizer.json"))
        done = 0
        shards = _named_shards(plan)
        for name, tensors in shards.items():
            for count in _write_shard(folder / name, tensors, seed):
                done += count
                progress(done, total)
        _write_index(folder, shards, total)
    weights = sum(tensor.size for tensor in plan if not tensor.name.startswith(NORMALIZER))
    return CheckpointSummary(weights, total, tuple(shards))


def planned_tensors(shape: ModelShape, dtype: torch.dtype, *, fused: bool) -> list[PlannedTensor]:
    """Every tensor of a model and the normaliser's, in the order of the file.

    ``fused``: whether an expert's layers that read one input are one tensor.
    """
    with torch.device("meta"):
        weights = inventory(WallModel(shape))
    stored = with_fused_experts(weights) if fused else {name: (weight,) for name, weight in weights.items()}
    if shape.tied_embeddings:
        stored = {name: parts for name, parts in stored.items() if name != HEAD}
    plan = [_planned(name, parts, dtype, shape) for name, parts in stored.items()]
    for kind, dof in (("action", shape.action_dof), ("propri", shape.state_dof)):
        for statistic, value in (("min", -1.0), ("delta", 2.0)):
            name = f"{NORMALIZER}{kind}.{statistic}.{ROBOT}"
            plan.append(PlannedTensor(name, (dof,), torch.float32, mean=value))
    return plan


def _planned(name: str, parts: Sequence[Weight], dtype: torch.dtype, model: ModelShape) -> PlannedTensor:
    """Norms are 1, biases small; a matrix keeps the variance of what goes in: std 1/sqrt(inputs).

    What a layer adds to the residual is divided by sqrt(2 · layers), as GPT-2 begins training: without, a
    random model amplifies every error on its way up. ``parts``: what the tensor's rows are.
    """
    weight = parts[0]
    inputs = weight.shape[1:]
    shape = (sum(part.shape[0] for part in parts), *inputs)
    if inputs:
        depth = model.vision.depth if weight.part == "vision" else model.num_layers
        return PlannedTensor(
            name, shape, dtype, std=(math.prod(inputs) * (2 * depth if weight.residual else 1)) ** -0.5
        )
    if weight.layer is not None:
        return PlannedTensor(name, shape, dtype, std=_BIAS_STD)
    return PlannedTensor(name, shape, dtype, mean=1.0)


def _pieces(tensor: PlannedTensor, seed: int) -> Iterator[npt.NDArray[np.generic]]:
    """The tensor's bit patterns in order, up to ``_PIECE`` values at a time.

    16 random bits pick one of 65536 quantiles of the normal distribution: the variance and the shape are
    right, the tails end at 4.3 deviations, and it is ten times as fast as drawing normals.
    """
    generator = np.random.SFC64(np.random.SeedSequence([seed, zlib.crc32(tensor.name.encode())]))
    table = _value_table(tensor)
    for start in range(0, tensor.size, _PIECE):
        count = min(_PIECE, tensor.size - start)
        levels = generator.random_raw(-(-count // 4)).view(np.uint16)[:count]
        yield np.take(table, levels, mode="clip")


def _value_table(tensor: PlannedTensor) -> npt.NDArray[np.generic]:
    """What each of the 65536 levels stands for, as bits of the tensor's type."""
    values = _quantiles() * tensor.std + tensor.mean
    bits = values.to(tensor.dtype).view(torch.int16 if tensor.dtype.itemsize == 2 else torch.int32)
    table: npt.NDArray[np.generic] = bits.numpy()
    return table.astype(table.dtype.newbyteorder("<"), copy=False)


@lru_cache(maxsize=1)
def _quantiles() -> torch.Tensor:
    """65536 evenly spaced quantiles of the normal distribution, in double precision."""
    quantiles: torch.Tensor = torch.special.ndtri((torch.arange(_LEVELS).double() + 0.5) / _LEVELS)
    return quantiles


def _named_shards(plan: Sequence[PlannedTensor]) -> dict[str, list[PlannedTensor]]:
    groups: list[list[PlannedTensor]] = [[]]
    for tensor in plan:
        if groups[-1] and sum(other.bytes for other in groups[-1]) + tensor.bytes > SHARD_BYTES:
            groups.append([])
        groups[-1].append(tensor)
    count = len(groups)
    return {f"model-{n:05d}-of-{count:05d}.safetensors": group for n, group in enumerate(groups, start=1)}


def _write_shard(path: Path, tensors: Sequence[PlannedTensor], seed: int) -> Iterator[int]:
    """Write one file; gives the bytes of each piece once it is written."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.bytes
        header[tensor.name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            for piece in _pieces(tensor, seed):
                yield file.write(piece.data)


def _write_index(folder: Path, shards: dict[str, list[PlannedTensor]], total: int) -> None:
    weight_map = {tensor.name: name for name, tensors in shards.items() for tensor in tensors}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


@contextmanager
def _new_folder(out: Path, need: int) -> Iterator[Path]:
    """A hidden sibling of ``out`` that becomes ``out`` when the block ends without an error."""
    try:
        out = out.resolve()
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise ConfigError(f"{out}: exists", expected="a new folder", fix="choose another --out")
        out.parent.mkdir(parents=True, exist_ok=True)
        _require_room(out, need)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        try:
            yield work
            work.chmod(0o755)
            work.rename(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"{out}: {error.strerror or error}",
            expected="a folder that can be written",
            fix="check the path, its permissions and the room on its disk",
        ) from error


def _require_room(out: Path, need: int) -> None:
    free = shutil.disk_usage(out.parent).free
    if free < need:
        raise ConfigError(
            f"{out}: {free / 1e9:.1f} GB free on its disk",
            expected=f"{need / 1e9:.1f} GB for this checkpoint",
            fix="choose another --out or make room",
        )
