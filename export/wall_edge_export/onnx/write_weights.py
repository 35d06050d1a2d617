"""Weights streamed from the checkpoint through quantisation into a graph's data file, one at a time."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from wall_edge.array_types import Array, Floats32
from wall_edge.arrays import require_finite
from wall_edge.bundle import INT8, GraphSpec
from wall_edge.errors import CheckpointError
from wall_edge_export.checkpoint.weights import REDO
from wall_edge_export.memory import give_back
from wall_edge_export.onnx.rewrite import WeightPart
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.int4 import pack_int4
from wall_edge_export.quantize.int8 import quantize_per_channel
from wall_edge_export.quantize.precision import FP16, FP32, INT4_WEIGHTS, input_group

_ALIGNMENT = 64
_CHUNK = 1 << 24  # values converted at a time


class DataFile:
    """A graph's data file, written from front to back; its digest comes for free."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, path.open("wb")
        self._digest, self._size = hashlib.sha256(), 0

    def append(self, pieces: Iterable[Array]) -> tuple[int, int]:
        """Write the pieces one after the other; returns where they begin and how many bytes they take."""
        self._write(b"\0" * (-self._size % _ALIGNMENT))
        begin = self._size
        for piece in pieces:
            self._write(np.ascontiguousarray(piece).data)
        return begin, self._size - begin

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data) if isinstance(data, bytes) else data.nbytes

    def close(self) -> str:
        """Flush to the disk; returns the SHA-256."""
        self._file.flush()
        self._file.close()
        return self._digest.hexdigest()


def write_weights(
    model: ir.Model,
    parts: Sequence[WeightPart],
    spec: GraphSpec,
    folder: Path,
    tensor: Callable[[str], Tensor],
    calibrated: Calibrated,
) -> dict[str, str]:
    """Write a rewritten graph and its weights into ``folder``; returns both files' SHA-256.

    ``tensor`` gives a checkpoint's tensor by name, as stored.
    """
    data = DataFile(folder / spec.data)
    initializers = model.graph.initializers
    for weight, group in itertools.groupby(parts, key=lambda part: part.weight):
        contents = _convert(weight, list(group), tensor, calibrated)
        for part, pieces in contents:
            offset, length = data.append(pieces)
            if length != part.nbytes:
                raise CheckpointError(f"tensor {part.name}: {length} bytes", expected=f"{part.nbytes} bytes")
            initializers[part.name].const_value = ir.ExternalTensor(
                spec.data,
                offset,
                length,
                part.dtype,
                shape=ir.Shape(part.shape),
                name=part.name,
                base_dir=folder,
            )
    digest = data.close()
    give_back()
    ir.save(model, folder / spec.file)
    graph_digest = hashlib.sha256((folder / spec.file).read_bytes()).hexdigest()
    return {spec.file: graph_digest, spec.data: digest}


def _convert(
    weight: str, parts: list[WeightPart], tensor: Callable[[str], Tensor], calibrated: Calibrated
) -> Iterator[tuple[WeightPart, Iterable[Array]]]:
    """The bytes of one weight's parts, in their order."""
    stored = tensor(weight)
    _check_finite(weight, stored)
    precision = next(part.precision for part in parts if part.role == "weight")
    if precision in (FP32, FP16):
        for part in parts:
            yield part, _float_pieces(weight, stored, part.dtype)
        return
    values = _quantized(weight, stored, precision, calibrated)
    for part in parts:
        yield part, [values[part.role]]


def _quantized(weight: str, stored: Tensor, precision: str, calibrated: Calibrated) -> Mapping[str, Array]:
    if precision == INT4_WEIGHTS:
        q4, scale = calibrated.int4[weight]
        return {"weight": pack_int4(np.ascontiguousarray(q4.T)), "scale": np.ascontiguousarray(scale.T)}
    smoothing: Floats32 | None = None
    values: dict[str, Array] = {}
    if precision == INT8:
        scaling = calibrated.inputs[input_group(weight)]
        smoothing = scaling.smoothing
        values["inverse_smoothing"] = 1 / smoothing
        values["input_scale"] = np.array(scaling.scale, dtype=np.float32)
        values["input_zero"] = np.array(0, dtype=np.int8)
    pieces = [quantize_per_channel(rows) for rows in _rows(stored, smoothing)]
    values["weight"] = np.concatenate([q for q, _ in pieces])
    values["scale"] = np.concatenate([scale for _, scale in pieces])
    values["zero"] = np.zeros(len(values["scale"]), dtype=np.int8)
    return values


def _rows(stored: Tensor, smoothing: Floats32 | None) -> Iterator[Floats32]:
    """The weight in float32, a bounded number of rows at a time."""
    step = max(1, _CHUNK // stored.shape[1])
    for start in range(0, stored.shape[0], step):
        rows: Floats32 = stored[start : start + step].float().numpy()
        yield rows if smoothing is None else rows * smoothing


def _float_pieces(weight: str, stored: Tensor, dtype: ir.DataType) -> Iterator[Array]:
    flat = stored.reshape(-1)
    for start in range(0, flat.numel(), _CHUNK):
        piece = flat[start : start + _CHUNK].float()
        if dtype == ir.DataType.FLOAT16:
            if piece.abs().max() > torch.finfo(torch.float16).max:
                raise CheckpointError(
                    f"tensor {weight} holds values up to {float(piece.abs().max()):g}",
                    expected="at most 65504 in fp16",
                    fix="keep this layer family in fp32",
                )
            piece = piece.half()
        yield piece.numpy()


def _check_finite(weight: str, stored: Tensor) -> None:
    # One sum tells: a value that is not finite stays in it.
    total = float(stored.sum(dtype=torch.float32))
    require_finite(total, f"tensor {weight}", CheckpointError, expected="finite weights", fix=REDO)
