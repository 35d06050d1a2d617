"""The two compilers, TensorRT as JetPack brings it and TensorRT-RTX: one adapter of names for both.

Versions 10.3 to 11 and RTX differ in which names exist and in the numbers behind them; so everything here
goes by name, and what a version lacks is left out. Runs in the worker's process only: the library is large.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wall_edge.errors import EngineError


@dataclass(frozen=True)
class Compiler:
    """Where a compiler is found. ``timing_cache``: whether its timings can be kept for the next build."""

    module: str
    fix: str
    timing_cache: bool


COMPILERS = {
    "tensorrt": Compiler(
        "tensorrt",
        "it comes with JetPack, for the system's Python: python3 -m venv --system-site-packages .venv",
        timing_cache=True,
    ),
    "tensorrt-rtx": Compiler("tensorrt_rtx", "pip install tensorrt-rtx", timing_cache=False),
}


def imported(compiler: str) -> Any:
    """The compiler's module. Raises :class:`EngineError` with what to install."""
    entry = COMPILERS[compiler]
    try:
        return importlib.import_module(entry.module)
    except (ImportError, OSError) as problem:  # OSError: wheels load their libraries by name
        raise EngineError(
            f"{compiler}: {problem}", expected=f"the module {entry.module}", fix=entry.fix
        ) from None


def ahead_of_time(module: Any) -> list[int]:
    """The SMs that a compiler builds for without such a GPU, rising."""
    names = dir(getattr(module, "ComputeCapability", None))
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"SM(\d+)", name)))


def network_flags(module: Any) -> int:
    """Strongly typed: every tensor has the type that the graph gives it. 11 has no other kind."""
    flag = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def configure(module: Any, config: Any, *, sm: int | None, aux_streams: int) -> None:
    """What all graphs share; ``sm`` is none for the GPU at hand."""
    if hasattr(config, "max_aux_streams"):
        config.max_aux_streams = aux_streams
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED  # an inspector may be asked later
    flag = getattr(getattr(module, "BuilderFlag", None), "REQUIRE_USER_ALLOCATION", None)
    if flag is not None:  # TensorRT-RTX: without it a run may allocate, which no captured loop can
        config.set_flag(flag)
    if sm is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(module.ComputeCapability, f"SM{sm}"), 0)


def use_timings(config: Any, path: Path) -> None:
    """Start from the timings in ``path``; from none where it is missing, or of another version or GPU."""
    before = path.read_bytes() if path.is_file() else b""
    for content in (before, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def timings(config: Any) -> bytes:
    """What a build measured, to be kept for the next one."""
    return bytes(config.get_timing_cache().serialize())


def logger(module: Any, log: Callable[[str, str], None]) -> Any:
    """A logger that tells ``log`` each message's severity (its name) and text."""

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log(severity.name, message)

    return Logger()


def watch(module: Any, config: Any, told: Callable[[str], None]) -> None:
    """Tell the phase that the compiler is in, where its version has a monitor."""
    if not hasattr(module, "IProgressMonitor") or not hasattr(config, "progress_monitor"):
        return

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, _parent: str | None, steps: int) -> None:
            self._steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            told(f"{phase} {step + 1}/{self._steps.get(phase, 0)}")
            return True

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    config.progress_monitor = Monitor()
