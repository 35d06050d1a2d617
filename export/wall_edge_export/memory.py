"""Keeping the process as small as what it holds."""

from __future__ import annotations

import ctypes
import ctypes.util


def give_back() -> None:
    """Return freed memory to the system.

    glibc keeps what large tensors leave behind for the next ones: after a full-size model's calibration that
    was 3 GB. Other C libraries have no such call, and nothing happens.
    """
    name = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(name), "malloc_trim", None) if name is not None else None
    if trim is not None:
        trim(0)
