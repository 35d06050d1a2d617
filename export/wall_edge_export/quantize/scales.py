"""Scales that bfloat16 can hold: codes are then the same whatever type a graph computes in."""

from __future__ import annotations

import numpy as np
from wall_edge_engines.element_types import from_storage, to_storage

from wall_edge.array_types import Floats32

_LOW = np.uint32(0xFFFF)
"""bfloat16 is the upper half of a float32."""


def scale_above(scale: Floats32) -> Floats32:
    """The least bfloat16 numbers that are not below ``scale`` (positive, finite): what fitted still fits."""
    bits = np.asarray(scale, np.float32).view(np.uint32)
    above: Floats32 = ((bits + _LOW) & ~_LOW).view(np.float32)
    return above


def scale_near(scale: Floats32) -> Floats32:
    """The bfloat16 numbers nearest to ``scale`` (positive and finite), ties to even."""
    near: Floats32 = from_storage(to_storage(scale, "bfloat16"), "bfloat16")
    return near
