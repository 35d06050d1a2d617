"""A daemon that moves an arm comes first: what a deploy does beside it waits, and dies before it does."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_NICE = 10
_OUT_OF_MEMORY_SCORE = 1000
"""proc(5): the first to be killed when memory runs out. Raising one's own takes no privilege."""


def step_back() -> None:
    """For this process and all that it starts: compilers, and the engine that verifies."""
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{_OUT_OF_MEMORY_SCORE}\n")
