"""What the tower and the decoder have in common: norms, activations, rotation, one masked attention."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tests.golden.second_implementation.weights import Floats

Allowed = NDArray[np.bool_]


def silu(x: Floats) -> Floats:
    return x / (1.0 + np.exp(-x))


def gelu(x: Floats) -> Floats:
    return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def unit_rms(x: Floats, epsilon: float) -> Floats:
    """Every row divided by its root mean square."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon)


def rotated(x: Floats, angles: Floats) -> Floats:
    """``x`` [tokens, heads, width] with channel i and i + width/2 turned by ``angles`` [tokens, width/2]."""
    low, high = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1)


def attention(q: Floats, k: Floats, v: Floats, allowed: Allowed) -> Floats:
    """Softmax attention over a whole sequence: [tokens, heads, width] to [tokens, heads·width].

    ``allowed`` [tokens, tokens] is true where the row's token sees the column's. ``k`` and ``v`` may have
    fewer heads than ``q``: neighbouring query heads share one.
    """
    shared = q.shape[1] // k.shape[1]
    out = np.empty_like(q)
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head // shared].T / math.sqrt(q.shape[2])
        scores = np.where(allowed, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, head] = weights / weights.sum(axis=1, keepdims=True) @ v[:, head // shared]
    return out.reshape(len(q), -1)
