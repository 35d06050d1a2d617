"""``python -m wall_edge_engines.build.worker``: a compiler in a process of its own, so that its memory ends.

One JSON line on stdin asks: ``{"facts": COMPILER}``, or ``{"job": …}`` (:class:`Job`). JSON lines on stdout
answer: ``{"phase": text}`` while it works, last ``{"facts": …}``, ``{"compiled": …, "peak_bytes": n}`` or
``{"error": text}``. It ends with whoever started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wall_edge.config_loader import from_mapping
from wall_edge.errors import EngineError, WallEdgeError
from wall_edge.files import parse_json
from wall_edge_engines.build.compile import Job, compile_graph
from wall_edge_engines.build.compilers import ahead_of_time, imported

_PHASE_S = 0.2
_PR_SET_PDEATHSIG = 1
"""``linux/prctl.h``"""


def main() -> None:
    """Answer one question. What the compiler itself prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")

    try:
        end_with_parent()
        request = parse_json(sys.stdin.readline(), "the request", EngineError)  # empty if it is gone already
        tell(_answer(request, tell))
    except WallEdgeError as problem:
        tell({"error": str(problem)})
    except OSError as problem:
        tell({"error": f"{problem.filename or 'the plan'}: {problem.strerror or problem}"})
    sys.exit(0)


def _answer(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    if "facts" in request:
        module = imported(request["facts"])
        return {"facts": {"version": str(module.__version__), "ahead_of_time": ahead_of_time(module)}}
    job = from_mapping(Job, request["job"], "the job", EngineError)
    compiled = compile_graph(job, _seldom(lambda phase: tell({"phase": phase})))
    return {"compiled": asdict(compiled), "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """The most that this process had resident: ``VmHWM`` of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _seldom(told: Callable[[str], None]) -> Callable[[str], None]:
    """At most five times a second: a compiler takes thousands of steps."""
    last = 0.0

    def tell(phase: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _PHASE_S:
            last = time.monotonic()
            told(phase)

    return tell


def end_with_parent() -> None:
    """Have the kernel end this process when its parent dies, even by kill -9: a compiler takes gigabytes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
