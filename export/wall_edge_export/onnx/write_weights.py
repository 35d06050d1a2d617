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
from wall_edge_export.model.inventory import Weight
from wall_edge_export.onnx.editor import WeightPart
from wall_edge_export.quantize.calibrated import Calibrated, InputScaling
from wall_edge_export.quantize.int4 import pack_int4
from wall_edge_export.quantize.int8 import quantize_per_channel
from wall_edge_export.quantize.precision import INT4_WEIGHTS

_ALIGNMENT = 64
_CHUNK = 1 << 24  # values converted at a time
_HALF = torch.finfo(torch.float16)


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
    for weights, group in itertools.groupby(parts, key=lambda part: part.weights):
        contents = _convert(weights, list(group), tensor, calibrated)
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
    weights: tuple[Weight, ...],
    parts: list[WeightPart],
    tensor: Callable[[str], Tensor],
    calibrated: Calibrated,
) -> Iterator[tuple[WeightPart, Iterable[Array]]]:
    """The bytes of the parts that some weights make, in their order."""
    precision = next(part.precision for part in parts if part.role == "weight")
    if precision is None:
        for part in parts:
            yield part, _float_pieces(weights, tensor, part.dtype)
        return
    if precision == INT4_WEIGHTS:
        values = _int4(weights, calibrated)
    else:
        scaling = calibrated.inputs[str(weights[0].input_group)] if precision == INT8 else None
        values = _int8(weights, tensor, scaling)
    for part in parts:
        yield part, [_stored_as(part, piece) for piece in values[part.role]]


def _int4(weights: Sequence[Weight], calibrated: Calibrated) -> Mapping[str, Sequence[Array]]:
    """The outputs side by side: a graph holds 4-bit weights as [inputs, outputs]."""
    codes, scales = zip(*(calibrated.int4[weight.name] for weight in weights), strict=True)
    packed = pack_int4(np.concatenate([q.T for q in codes], axis=1))
    return {"weight": [packed], "scale": [np.concatenate([scale.T for scale in scales], axis=1)]}


def _int8(
    weights: Sequence[Weight], tensor: Callable[[str], Tensor], scaling: InputScaling | None
) -> Mapping[str, Sequence[Array]]:
    """The outputs one after the other; ``scaling`` of the inputs where they are rounded too."""
    values: dict[str, Sequence[Array]] = {}
    if scaling is not None:
        values["inverse_smoothing"] = [1 / scaling.smoothing]
        values["input_scale"] = [np.array(scaling.scale, dtype=np.float32)]
        values["input_zero"] = [np.array(0, dtype=np.int8)]
    smoothing = None if scaling is None else scaling.smoothing
    stored = (_read(weight.name, tensor) for weight in weights)
    pieces = [quantize_per_channel(rows) for whole in stored for rows in _rows(whole, smoothing)]
    values["weight"], values["scale"] = [q for q, _ in pieces], [scale for _, scale in pieces]
    values["zero"] = [np.zeros(len(scale), dtype=np.int8) for scale in values["scale"]]
    return values


def _rows(stored: Tensor, smoothing: Floats32 | None) -> Iterator[Floats32]:
    """The weight in float32, a bounded number of rows at a time."""
    step = max(1, _CHUNK // stored.shape[1])
    for start in range(0, stored.shape[0], step):
        rows: Floats32 = stored[start : start + step].float().numpy()
        yield rows if smoothing is None else rows * smoothing


def _stored_as(part: WeightPart, values: Array) -> Array:
    """Codes as they are; scales in the part's type, which must hold them as normal numbers."""
    if values.dtype != np.float32:
        return values
    if part.dtype == ir.DataType.FLOAT16 and not np.all((values >= _HALF.tiny) & (values <= _HALF.max)):
        raise CheckpointError(
            f"tensor {part.name} holds scales from {values.min():g} to {values.max():g}",
            expected=f"{_HALF.tiny:g} to {_HALF.max:g} in fp16",
            fix="use a recipe with activations in bf16",
        )
    return _bits(torch.from_numpy(values), part.dtype)


def _float_pieces(
    weights: Sequence[Weight], tensor: Callable[[str], Tensor], dtype: ir.DataType
) -> Iterator[Array]:
    for weight in weights:
        flat = _read(weight.name, tensor).reshape(-1)
        for start in range(0, flat.numel(), _CHUNK):
            piece = flat[start : start + _CHUNK].float()
            if dtype == ir.DataType.FLOAT16 and piece.abs().max() > _HALF.max:
                raise CheckpointError(
                    f"tensor {weight.name} holds values up to {float(piece.abs().max()):g}",
                    expected=f"at most {_HALF.max:g} in fp16",
                    fix="keep this layer family in bf16 or fp32",
                )
            yield _bits(piece, dtype)


def _bits(values: Tensor, dtype: ir.DataType) -> Array:
    """As numpy holds them: bfloat16, which it lacks, as its bits."""
    if dtype == ir.DataType.BFLOAT16:
        return values.bfloat16().view(torch.int16).numpy()
    return (values.half() if dtype == ir.DataType.FLOAT16 else values).numpy()


def _read(name: str, tensor: Callable[[str], Tensor]) -> Tensor:
    """The tensor as stored; raises :class:`CheckpointError` unless it is finite."""
    stored = tensor(name)
    # One sum tells: a value that is not finite stays in it.
    total = float(stored.sum(dtype=torch.float32))
    require_finite(total, f"tensor {name}", CheckpointError, expected="finite weights", fix=REDO)
    return stored
