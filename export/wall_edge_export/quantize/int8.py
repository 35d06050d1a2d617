"""8 bits, symmetric: weights with a scale a row, activations with one scale a tensor.

No value is clipped from a weight: the least-squares range gains under 3 % over the full one (2048 and 11008
normal, Laplace and Student-t(4) weights a row), and takes ten times as long. All scales are bfloat16 numbers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats32
from wall_edge.arrays import relative_l2, require_finite
from wall_edge.errors import CheckpointError
from wall_edge_export.checkpoint.weights import REDO
from wall_edge_export.quantize.scales import scale_above
from wall_edge_export.quantize.statistics import LinearStatistics

Codes = npt.NDArray[np.int8]

_HIGH = 127
_CLIPPING = 2.0 ** -np.arange(0, 3.1, 0.125)
"""Fractions of the largest magnitude that are tried as the end of the range."""
_TINY = 256 * float(np.finfo(np.float32).tiny)
"""Below, a scale would not be a normal number."""
_SEARCHED = 1 << 18
_CHUNK = 1 << 18


def quantize_per_channel(weight: Floats32) -> tuple[Codes, Floats32]:
    """``weight [N, K]`` → codes ``[N, K]`` in ±127 and scales ``[N]``, with weight ≈ code · scale.

    Rows of zeros get the scale 1. Raises :class:`CheckpointError` on weights that are not finite.
    """
    rows, inputs = weight.shape
    codes, scale = np.empty((rows, inputs), np.int8), np.empty(rows, np.float32)
    step = max(1, _CHUNK // inputs)
    for start in range(0, rows, step):
        part = weight[start : start + step].astype(np.float32, copy=False)
        largest = np.maximum(part.max(1), -part.min(1))
        require_finite(
            largest, f"a weight {weight.shape}", CheckpointError, expected="finite weights", fix=REDO
        )
        scale[start : start + step] = np.where(largest >= _TINY, scale_above(largest / _HIGH), 1)
        codes[start : start + step] = _coded(part, scale[start : start + step, None])
    return codes, scale


def activation_scale(statistics: LinearStatistics, smoothing: Floats32 | None = None) -> float:
    """The scale for x / ``smoothing [K]``, with codes in ±127, that has the least mean squared error in x.

    In x and not in x / s, since the weight's columns grow by s: an error there counts s times in the product.
    Searched between the largest magnitude and an eighth of it, on sampled rows. Those do not show the tails:
    the channels' largest magnitudes weigh 1 / √(rows · tokens) beside the rows' 1 / rows. In simulated layers
    the error on other tokens was then 8 % above the best scale's, without it 48 % and up to six times.
    Raises :class:`CheckpointError` without a single token.
    """
    if not statistics.count:
        raise CheckpointError(
            f"calibration of {statistics.name}: no token came by", fix="calibrate with more samples"
        )
    s = np.ones_like(statistics.channel_absmax) if smoothing is None else smoothing
    rows = statistics.rows[:: -(-statistics.rows.size // _SEARCHED)] / s
    largest = statistics.channel_absmax / s
    end = largest.max()
    if end < _TINY:
        return 1.0
    # Relative to the largest magnitude no square overflows.
    rows, largest, s = rows / end, largest / end, s / s.max()

    tails = float(len(rows) * statistics.count) ** -0.5

    def cost(step: float) -> float:
        step /= end
        left = np.square((fake_quantize(rows, step) - rows) * s).sum(dtype=np.float64)
        clipped = np.square(np.maximum(largest - np.float32(step * _HIGH), 0) * s).sum(dtype=np.float64)
        return float(left / len(rows) + clipped * tails)

    return min(map(float, scale_above(_CLIPPING * end / _HIGH)), key=cost)


def fake_quantize(x: Floats32, scale: float) -> Floats32:
    """``x`` rounded to int8 in steps of ``scale`` and back."""
    codes = _coded(x, np.float32(scale))
    codes *= np.float32(scale)
    return codes


def linear_error(
    weight: Floats32, weight_hat: Floats32, rows: Floats32, rows_hat: Floats32 | None = None
) -> float:
    """Relative L2 error of ``rows_hat @ weight_hat.T`` against ``rows @ weight.T``.

    ``weight [N, K]``, ``rows [tokens, K]``; a hat marks what quantisation made of it (``rows_hat`` None: the
    rows are exact). With smoothing pass ``weight · s`` and ``rows / s``: their product is the same.
    """
    exact = rows @ weight.T
    return relative_l2((rows if rows_hat is None else rows_hat) @ weight_hat.T, exact)


def _coded(values: Floats32, scale: Floats32 | np.float32) -> Floats32:
    codes: Floats32 = values / scale
    np.rint(codes, out=codes)
    return np.clip(codes, -_HIGH, _HIGH, out=codes)
