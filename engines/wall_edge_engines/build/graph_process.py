"""The parent's side of a worker: start it, hear it, and name whatever way it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from wall_edge.atomic import leftovers
from wall_edge.errors import EngineError
from wall_edge.files import parse_json, shown
from wall_edge_engines.build.compile import Compiled, Job

WORKER: Sequence[str] = (sys.executable, "-m", "wall_edge_engines.build.worker")
_LINE_BYTES = 16 << 20
"""An answer with an engine's layers is the longest."""
_DRIVER = "update JetPack, or the driver: it is older than this compiler's CUDA"
_FIXES = (
    ("Target GPU SM", "use the TensorRT that JetPack brings: a server's has no kernels for this GPU"),
    ("driver version is insufficient", _DRIVER),
    ("CUDA initialization failure", _DRIVER),
    ("No space left", "free some disk space and run the same command again: it goes on with what is missing"),
    ("libnvdla_compiler", "install nvidia-l4t-dla-compiler: TensorRT's module needs it"),
)
"""What a compiler's or the system's own words mean."""
_MEMORY = "end other programs, or export a smaller recipe; then run the same command again"


@dataclass(frozen=True)
class Outcome:
    """How a worker ended: its last answer, or why there is none; ``peak_bytes`` is what it had resident."""

    answer: dict[str, Any]
    reason: str
    peak_bytes: int


def compiler_facts(compiler: str) -> tuple[str, list[int]]:
    """A compiler's version, and the SMs that it builds for ahead of time. Raises :class:`EngineError`."""
    outcome = ask({"facts": compiler}, lambda _: None)
    if outcome.reason:
        raise EngineError(_with_fix(outcome.reason, ahead_of_time=False))
    return str(outcome.answer["facts"]["version"]), list(outcome.answer["facts"]["ahead_of_time"])


def compile_apart(job: Job, told: Callable[[str], None]) -> tuple[Compiled | None, str, int]:
    """Compile in a process of its own: the plan or a reason, and the peak of memory in bytes."""
    try:
        outcome = ask({"job": asdict(job)}, told)
    finally:
        for partial in leftovers(Path(job.plan)):  # of a process that was killed while it wrote
            partial.unlink(missing_ok=True)
    if outcome.reason:
        ahead_of_time = job.sm is not None
        return None, _with_fix(outcome.reason, ahead_of_time=ahead_of_time), outcome.peak_bytes
    compiled = outcome.answer["compiled"]
    return Compiled(**{**compiled, "layers": tuple(compiled["layers"])}), "", outcome.peak_bytes


def ask(request: dict[str, Any], told: Callable[[str], None]) -> Outcome:
    """Put one question to a new worker; ``told`` hears the phases that it is in."""
    killed_before = _out_of_memory_kills()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            answer = _conversation(process, request, told)
        except BaseException:
            os.kill(process.pid, signal.SIGKILL)  # Popen.kill might reap it, and its peak be lost
            raise
        finally:
            peak = _end(process)
        if "error" in answer:
            return Outcome({}, str(answer["error"]), peak)
        if answer:
            return Outcome(answer, "", int(answer.get("peak_bytes", peak)))
        out_of_memory = _out_of_memory_kills() > killed_before
        return Outcome({}, _death(process.returncode, errors, out_of_memory=out_of_memory), peak)


def _conversation(
    process: subprocess.Popen[bytes], request: dict[str, Any], told: Callable[[str], None]
) -> dict[str, Any]:
    """The worker's last answer; empty when it died without one."""
    if process.stdin is None or process.stdout is None:
        raise EngineError("a worker without pipes")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    while line := process.stdout.readline(_LINE_BYTES):
        answer = parse_json(line.decode(errors="replace"), "the compiler's process", EngineError)
        if "phase" not in answer:
            return dict(answer)
        told(str(answer["phase"]))
    return {}


def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the process; the most memory that it had resident, in bytes, as the kernel counts it."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024


def _death(code: int, errors: IO[bytes], *, out_of_memory: bool) -> str:
    """A worker that ended without an answer."""
    if out_of_memory and code == -signal.SIGKILL:
        return f"the kernel ended the compiler: out of memory; {_MEMORY}"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        words = _last_words(errors)
        fix = (
            _MEMORY if code == -signal.SIGKILL else "the compiler crashed: report it with the graph's recipe"
        )
        return f"the compiler was ended by {name}{words}; {fix}"
    return f"the compiler's process ended with code {code}{_last_words(errors)}"


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(-min(errors.tell(), 4096), os.SEEK_END)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f" ({shown(lines[-1], 300)})" if lines else ""


def _with_fix(reason: str, *, ahead_of_time: bool) -> str:
    """The reason on one line, with what to do about it; ahead of time no driver is to blame."""
    fixes = (fix for words, fix in _FIXES if words in reason and not (ahead_of_time and fix == _DRIVER))
    return "; ".join([shown(reason, 900), *list(fixes)[:1]])


def _out_of_memory_kills() -> int:
    """How many processes the kernel has ended for want of memory, on this machine since it started."""
    match = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    return int(match[1]) if match else 0
