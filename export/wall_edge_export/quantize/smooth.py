"""SmoothQuant (arXiv 2211.10438): move the inputs' outliers into the weights, x·Wᵀ = (x / s)·(W·s)ᵀ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wall_edge.array_types import Floats32
from wall_edge_export.quantize.int8 import activation_scale, fake_quantize, linear_error, quantize_per_channel
from wall_edge_export.quantize.scales import scale_near
from wall_edge_export.quantize.statistics import LinearStatistics

ALPHAS = (0.5, 0.65, 0.8)
"""How much of the difficulty moves from the inputs to the weights; 0.5 is the paper's usual choice."""
_RANGE = (1e-4, 1e4)
_ERROR_OUTPUTS = 256


def smoothing(input_absmax: Floats32, weight_absmax: Floats32, alpha: float) -> Floats32:
    """s ``[K]`` = max|x|^α / max|W|^(1-α) by channel (equation 4), within 1e-4 to 1e4.

    Channels that never fire get 1. ``weight_absmax [K]`` is over all outputs that read the input.
    1/s, by which a graph multiplies, is a bfloat16 number.
    """
    tiny = np.finfo(np.float32).tiny
    fires = input_absmax > tiny
    ratio = alpha * np.log(np.maximum(input_absmax, tiny))
    ratio -= (1 - alpha) * np.log(np.maximum(weight_absmax, tiny))
    inverse = scale_near(np.exp(-np.clip(ratio, *np.log(_RANGE))).astype(np.float32))
    return np.where(fires, 1 / inverse, np.float32(1))


def best_smoothing(statistics: LinearStatistics, weights: Sequence[Floats32]) -> Floats32:
    """s ``[K]`` with the smallest error of int8 · int8 products on the sampled rows; ones if none helps.

    ``weights`` [N, K] each: those that read this input and share s (q, k, v; gate, up). The error is their
    mean squared relative error, on at most 256 of each one's outputs.
    """
    absmax = np.max([np.maximum(w.max(0), -w.min(0)) for w in weights], axis=0)
    sampled = [w[:: -(-len(w) // _ERROR_OUTPUTS)] for w in weights]
    candidates = [np.ones_like(statistics.channel_absmax)]
    candidates += [smoothing(statistics.channel_absmax, absmax, alpha) for alpha in ALPHAS]
    return min(candidates, key=lambda s: _error(statistics, sampled, s))


def _error(statistics: LinearStatistics, weights: Sequence[Floats32], s: Floats32) -> float:
    rows = statistics.rows / s
    rows_hat = fake_quantize(rows, activation_scale(statistics, s))
    total = 0.0
    for weight in weights:
        codes, scale = quantize_per_channel(weight * s)
        total += linear_error(weight * s, codes * scale[:, None], rows, rows_hat) ** 2
    return total
