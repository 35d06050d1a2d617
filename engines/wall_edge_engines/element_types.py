"""Element types between graphs and the host: how each is stored in numpy, and its number in ONNX.

numpy has no bfloat16: its 16 bits are stored as uint16. They are the upper half of a float32 (Intel,
"BFLOAT16 - Hardware Numerics Definition", 2018).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Array, Floats32
from wall_edge.bundle import ONNX_TYPES, ElementType

STORAGE: dict[ElementType, np.dtype[np.generic]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "int64": np.dtype(np.int64),
    "int32": np.dtype(np.int32),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
"""What holds an element on the host."""
ONNX: dict[ElementType, int] = {name: number for number, name in ONNX_TYPES.items()}
"""``onnx.TensorProto.DataType``."""


def to_storage(values: npt.ArrayLike, dtype: ElementType) -> Array:
    """Values of the host as an element type is stored; floats are rounded to nearest, halves to even.

    Raises :class:`TypeError` for values of another kind (floats for integers).
    """
    array = np.asarray(values)
    kind = np.dtype(np.float32) if dtype == "bfloat16" else STORAGE[dtype]
    if not np.can_cast(array.dtype, kind, casting="same_kind"):
        raise TypeError(f"{array.dtype} values for {dtype}")
    wide = array.astype(kind, copy=False)
    return _to_bfloat16(wide) if dtype == "bfloat16" else wide


def from_storage(stored: Array, dtype: ElementType) -> Array:
    """A copy for the host; half-precision values come as float32."""
    if dtype == "bfloat16":
        wide: Floats32 = (stored.astype(np.uint32) << 16).view(np.float32)
        return wide
    return stored.astype(np.float32) if dtype == "float16" else stored.copy()


def _to_bfloat16(values: Floats32) -> Array:
    bits = np.asarray(values, order="C").view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    # Rounding carries a NaN's bits over into zero or infinity: it stays a NaN.
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
