"""Weights in blocks along the inputs, at 4 or 8 bits: round to nearest, or with compensated errors (GPTQ).

Blocks are those of ONNX ``DequantizeLinear`` (opset 21, ``block_size``), symmetric: weight = code · scale.
Inside this module columns are rows: everything is [K, rows], so that one input's weights are contiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from wall_edge.array_types import Floats32
from wall_edge.arrays import require_finite
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge_export.checkpoint.weights import REDO
from wall_edge_export.quantize.scales import scale_near

Bits = Literal[4, 8]
Codes = npt.NDArray[np.int8]

_LIMITS: dict[Bits, Floats32] = {4: np.array([-8, 7], np.float32), 8: np.array([-127, 127], np.float32)}
_CLIPPING: dict[Bits, Floats32] = {
    4: np.array([1, 0.93, 0.86, 0.8, 0.74, 0.68, 0.61, 0.52, 0.4, 0.3], np.float32),
    8: np.array([1, 0.97, 0.93, 0.87, 0.8, 0.7], np.float32),
}
"""Fractions of the largest magnitude that are tried as the end of the range.

The low ones are for blocks in which one input outweighs the others."""
_TINY = float(np.finfo(np.float32).tiny)
_COMMON = 0.01
"""The mean moment's share in damping."""
_BATCH = 128
_CHUNK_ELEMENTS = 1 << 18
_GPTQ_ROWS = 1024


def quantize_blocks(
    weight: Floats32, block: int | None, importance: Floats32 | None = None, *, bits: Bits = 4
) -> tuple[Codes, Floats32]:
    """Round to nearest; each block's scale has the least squared error of a small search.

    ``weight [N, K]``; ``block`` inputs share a scale (None: all of them; the last block may be short);
    ``importance [K]`` weighs the squared errors, e.g. by the second moment of each input. Returns codes
    ``[N, K]`` in [-8, 7] or [-127, 127] and scales ``[N, ceil(K / block)]``, all above 0.
    Raises :class:`CheckpointError` on weights that are not finite.
    """
    rows, inputs = weight.shape
    importance = np.ones(inputs, np.float32) if importance is None else importance
    weight, block = _checked(weight, importance, block)
    missing = -inputs % block
    shares = np.pad(_shares(importance), (0, missing)).reshape(-1, block)
    codes, scale = _empty(weight, block)
    for part in _chunks(rows, max(1, _CHUNK_ELEMENTS // inputs)):
        groups = np.pad(weight[part].T, ((0, missing), (0, 0))).reshape(len(shares), block, -1)
        part_scale = _search(groups, shares, bits)
        codes[part] = _coded(groups, part_scale[:, None], bits).reshape(inputs + missing, -1)[:inputs].T
        scale[part] = part_scale.T
    return codes, scale


def gptq_blocks(
    weight: Floats32, hessian: Floats32, block: int | None, damping: float = 0.05, *, bits: Bits = 4
) -> tuple[Codes, Floats32]:
    """As :func:`quantize_blocks` with H's diagonal as importance, but columns make up for those before them.

    GPTQ (arXiv 2210.17323) in the form of LDLQ (arXiv 2307.13304), which gives the same codes without an
    inverse: with H = R·Rᵀ, R upper triangular, column i is rounded from w_i + Σ_{j<i} e_j·R_ji/R_ii, where
    e_j is column j's error. A block's scale is chosen when its first column is reached.

    ``hessian [K, K]`` is the inputs' second moment; H is that plus ``damping`` · (its diagonal + a hundredth
    of the diagonal's mean). The mean alone, GPTQ's own damping, drowns small inputs beside an outlier and
    trusts correlations that a few hundred tokens show by chance; the diagonal alone lets small inputs make up
    for an outlier. A row that rounding to nearest serves better under H keeps that.
    Raises :class:`CheckpointError` on a weight or a moment that is not finite.
    """
    weight, block = _checked(weight, hessian, block)
    moment = np.diagonal(hessian)
    shares, coupling = _shares(moment), _coupling(hessian, damping)
    codes, scale = _empty(weight, block)
    for part in _chunks(weight.shape[0], _GPTQ_ROWS):
        columns = weight[part].T.copy()
        gptq_codes, gptq_scale, loss = _compensate(columns, coupling, shares, block, bits)
        nearest, nearest_scale = quantize_blocks(weight[part], block, moment, bits=bits)
        columns -= dequantize_blocks(nearest, nearest_scale, block).T
        better = (loss <= _loss(columns, coupling))[:, None]
        codes[part] = np.where(better, gptq_codes.T, nearest)
        scale[part] = np.where(better, gptq_scale.T, nearest_scale)
    return codes, scale


def dequantize_blocks(codes: Codes, scale: Floats32, block: int | None) -> Floats32:
    """``[N, K]``: what ``DequantizeLinear`` makes of the codes."""
    inputs = codes.shape[1]
    return codes * np.repeat(scale, block or inputs, axis=1)[:, :inputs]


def pack_int4(codes: Codes) -> npt.NDArray[np.uint8]:
    """Two codes a byte, the first in the low nibble, in row-major order (ONNX IR, ``TensorProto.INT4``).

    The shape is the tensor's: pass ``codes.T`` for a graph that holds the weight as [K, N]. An odd number of
    codes is padded with a 0.
    """
    nibbles = codes.reshape(-1).view(np.uint8) & np.uint8(0xF)
    nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
    packed: npt.NDArray[np.uint8] = nibbles[0::2] | (nibbles[1::2] << np.uint8(4))
    return packed


@dataclass(frozen=True)
class _Coupling:
    """``matrix[i, j]``: how much of column j's error column i makes up for (unit lower triangular [K, K]);
    ``pivot[i]``: what a squared error that is left in column i costs, at most 1."""

    matrix: Floats32
    pivot: Floats32


def _coupling(hessian: Floats32, damping: float) -> _Coupling:
    moment = _shares(np.diagonal(hessian))
    size: Floats32 = np.sqrt(moment)
    # The unit diagonal conditions the factorisation: float32 is enough.
    matrix: Floats32 = hessian[::-1, ::-1] / size[::-1, None]
    matrix /= size[::-1]
    weakness: Floats32 = (1 + _COMMON * moment.mean() / moment).astype(np.float32)
    factor = _cholesky(matrix, weakness[::-1], damping)[::-1, ::-1].T
    diagonal = np.diagonal(factor).copy()
    coupling = np.ascontiguousarray(factor / diagonal[:, None])
    coupling *= size
    coupling /= size[:, None]
    pivot = diagonal * size
    return _Coupling(coupling, np.square(pivot / pivot.max()))


def _cholesky(matrix: Floats32, weakness: Floats32, damping: float) -> Floats32:
    """The lower factor of ``matrix``, whose diagonal is set to 1 and at least ``damping · weakness`` more."""
    diagonal, failed = np.einsum("ii->i", matrix), 1
    while failed:
        diagonal[:] = 1 + damping * weakness
        lower, status = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
        failed, damping = int(status), max(10 * damping, 1e-3)
    factor: Floats32 = lower.numpy()
    return factor


def _compensate(
    columns: Floats32, coupling: _Coupling, shares: Floats32, block: int, bits: Bits
) -> tuple[Codes, Floats32, Floats32]:
    """Codes [K, n], scales [blocks, n] and each row's loss [n]."""
    target, errors = columns.copy(), np.empty_like(columns)
    codes = np.empty(columns.shape, np.int8)
    loss = np.zeros(columns.shape[1], np.float32)
    scales: list[Floats32] = []
    for first in range(0, len(columns), _BATCH):
        last = min(first + _BATCH, len(columns))
        for i in range(first, last):
            if i % block == 0:
                group = slice(i, i + block)
                # Not BLAS: its threads would meet here for little work, a long wait on a busy machine.
                correction = np.einsum("ij,jn->in", coupling.matrix[group, first:i], errors[first:i])
                current = target[group] + correction
                scales.append(_search(current[None], shares[None, group], bits)[0])
            ideal = target[i] + coupling.matrix[i, first:i] @ errors[first:i]
            code = _coded(ideal, scales[-1], bits)
            codes[i] = code
            code *= scales[-1]
            np.subtract(columns[i], code, out=errors[i])
            ideal -= code
            loss += coupling.pivot[i] * np.square(ideal, out=ideal)
        target[last:] += coupling.matrix[last:, first:last] @ errors[first:last]
    return codes, np.stack(scales), loss


def _loss(errors: Floats32, coupling: _Coupling) -> Floats32:
    """Each row's e·H·e in the pivot's unit, [n], from errors [K, n]."""
    loss = np.zeros(errors.shape[1], np.float32)
    for start in range(0, len(errors), _BATCH):
        stop = min(start + _BATCH, len(errors))
        left = coupling.matrix[start:stop, :stop] @ errors[:stop]
        loss += coupling.pivot[start:stop] @ np.square(left, out=left)
    return loss


def _search(groups: Floats32, shares: Floats32, bits: Bits) -> Floats32:
    """Scales [g, n] of groups [g, b, n] with small squared errors, weighted by shares [g, b].

    Scales are bfloat16 numbers. For each way to clip, the least-squares scale of the codes that it gives.
    """
    largest: Floats32 = np.maximum(groups.max(1, keepdims=True), -groups.min(1, keepdims=True))
    alive = largest >= 1e3 * _TINY  # below, the scale would not be a normal number: zeros, by scale 1
    unit: Floats32 = np.divide(groups, np.where(alive, largest, np.float32(1)))
    shares = (shares / np.maximum(shares.max(1, keepdims=True), _TINY))[:, None]
    least = np.full(largest.shape, np.inf, np.float32)
    best = np.ones_like(least)
    for end in _CLIPPING[bits]:
        fitted = np.full(largest.shape, end / _LIMITS[bits][1], np.float32)
        codes = _coded(unit, fitted, bits)
        product = shares @ (codes * unit)
        square = shares @ np.square(codes, out=codes)
        np.divide(product, square, out=fitted, where=square > 1e-30)
        np.divide(scale_near(fitted * largest), largest, out=fitted, where=alive)
        error = _coded(unit, fitted, bits)
        error *= fitted
        error -= unit
        cost = shares @ np.square(error, out=error)
        better = cost < least
        np.copyto(least, cost, where=better)
        np.copyto(best, fitted, where=better)
    scale: Floats32 = np.where(alive, scale_near(best * largest), np.float32(1))[:, 0]
    return scale


def _coded(values: Floats32, scale: Floats32, bits: Bits) -> Floats32:
    codes = values / scale
    np.rint(codes, out=codes)
    return np.clip(codes, *_LIMITS[bits], out=codes)


def _shares(moment: Floats32) -> Floats32:
    """Squared errors count by the inputs' second moments [K]; inputs that never fired count a little."""
    mean = float(moment.mean(dtype=np.float64))
    return np.maximum(moment, np.float32(1e-8 * mean)) if mean > 0 else np.ones_like(moment)


def _checked(weight: Floats32, moment: Floats32, block: int | None) -> tuple[Floats32, int]:
    """The weight in float32 and the width of a block; ``moment`` is [K] or [K, K]."""
    inputs = weight.shape[1]
    if block is not None and block < 1:
        raise ConfigError(f"a block of {block} weights", expected="at least 1")
    require_finite(weight, f"a weight {weight.shape}", CheckpointError, expected="finite weights", fix=REDO)
    if not np.isfinite(moment).all() or (moment.diagonal() if moment.ndim == 2 else moment).min() < 0:
        raise CheckpointError(
            f"the second moments of a layer of {inputs} inputs",
            expected="finite numbers, none below 0",
            fix="calibrate again",
        )
    return weight.astype(np.float32, copy=False), min(block or inputs, inputs)


def _empty(weight: Floats32, block: int) -> tuple[Codes, Floats32]:
    rows, inputs = weight.shape
    return np.empty((rows, inputs), np.int8), np.empty((rows, -(-inputs // block)), np.float32)


def _chunks(rows: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, rows, size))
