"""Values that no file should hold where another belongs, and what becomes of bytes and of arrays."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

NASTY: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 127, 255, 256, 4096, 16384, 65536, 2**31, 2**32, 2**53, 2**63, 2**64, 10**18, 10**30,
    -(2**31), -(10**18), 10**350, 0.5, -0.5, -0.0, 1e-9, 1e-300, 1e6, 1e23, 1e300, 1e308, -1e308,
    float("nan"), float("inf"), float("-inf"), True, False, None, "", " ", "a", "rad", "deg", "0", "1e5",
    "nan", "null", "a" * 65, "a" * 5000, "../../evil", "/etc/passwd", ".", "..", "a/b", "a\0b", "\ud800",
    "\x1b[31mred",
    "[/bold]", "[red]", "<|action|>", "<|image_pad|>", "<|im_end|>", "{0.__class__}", "%s%n", "2020-13-45",
    "(a+)+$", "(?:(?:a*)*)*b", "é" * 40, "\u202eabc", "int8", "float16", "F4", "F8_E4M3", "I32", "BF16",
    "absolute",
    [], {}, [[]], [None], [0], [1, 2], [-1, -1], ["a"], ["a", "a"], [float("nan")], {"a": 1}, {"": None},
    [0] * 3000, [[0] * 50] * 50, ["x" * 100] * 200, {str(i): i for i in range(500)},
)  # fmt: skip
BYTES = (
    b"\0",
    b"\xff",
    b"\0" * 8,
    b"\xff" * 8,
    b"\xef\xbb\xbf",
    b"\n",
    b"{",
    b"[" * 200,
    b'"',
    b"PK\3\4",
    b"9" * 5000,
)
DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int64",
    "uint8",
    "complex64",
    "U5",
    "bool",
    ">f8",
    "object",
)


def changed_bytes(rng: random.Random, content: bytes) -> bytes:
    """A bit, a stretch or the end of it, changed, left out or put in."""
    at = rng.randrange(len(content) + 1)
    many = min(rng.choice((1, 2, 8, 64, 1024)), len(content))
    how = rng.randrange(7)
    if how == 0 and content:
        flipped = bytearray(content)
        flipped[at % len(content)] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if how == 1 and content:
        return content[: at % len(content)] + rng.randbytes(many) + content[at % len(content) + many :]
    if how == 2:
        return content[:at] + rng.choice(BYTES) + content[at:]
    if how == 3:
        return content[:at] + content[at + many :]
    if how == 4:
        return content[:at]
    if how == 5:
        return content[:at] + content[at : at + many] * rng.choice((2, 2, 20)) + content[at + many :]
    return content[:at] + rng.randbytes(many) + content[at:]


def changed_array(rng: random.Random, array: Any) -> Any:
    """Another type, shape or value."""
    how = rng.randrange(9)
    if how == 0:
        if array.dtype.kind == "U":
            return np.array(b"bytes")
        return array.astype(rng.choice(DTYPES), casting="unsafe")
    if how == 1:
        return array[..., :-1] if array.ndim else array[None]
    if how == 2:
        return array.reshape(-1) if array.ndim else np.array([array, array])
    if how == 3:
        return array[:0] if array.ndim else np.zeros((0,), array.dtype)
    if how == 4:
        return np.array(rng.choice(("", "x" * 5000, "<|action|>", "a\0b", "\x1b[1m", 5, 1e300, None, {})))
    if how == 5:
        return np.zeros(
            rng.choice(((0, 0), (1, 2, 3, 4, 5, 6), (1000, 1000), (3,))), rng.choice(("f4", "u1", "i8"))
        )
    if how == 6:
        return np.array([{"a": 1}, None], dtype=object)
    if array.dtype.kind == "f" and array.size:
        changed = array.copy()
        changed.reshape(-1)[rng.randrange(array.size)] = rng.choice(
            (np.nan, np.inf, 1e30, -1e38, 4.6e18, 0, 1000)
        )
        return changed
    if array.dtype.kind in "iu" and array.size:
        changed = array.copy()
        info = np.iinfo(array.dtype)
        changed.reshape(-1)[rng.randrange(array.size)] = rng.choice((info.min, info.max, 0, 1))
        return changed
    return np.asfortranarray(array)
