"""A compiler in a process of its own: whatever way it ends has a name."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from wall_edge_engines.build import graph_process
from wall_edge_engines.build.compile import Job
from wall_edge_engines.build.graph_process import compile_apart, compiler_facts
from wall_edge_engines.build.profiles import Profile

from tests.unit.build.conftest import Compilers
from wall_edge.bundle import TensorSpec
from wall_edge.errors import EngineError


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "expert.onnx").write_bytes(b"graph")
    return Job(
        compiler="tensorrt-rtx",
        onnx=str(tmp_path / "expert.onnx"),
        plan=str(tmp_path / "expert.plan"),
        inputs={"past_kv": TensorSpec(("past", 4), "float32")},
        profiles=(Profile("step", {"past": (1, 2, 3)}),),
        sm=86,
        aux_streams=0,
    )


def quiet(_: str) -> None: ...


def test_a_plan_with_the_phases_that_it_took(compilers: Compilers, job: Job) -> None:
    phases: list[str] = []
    compiled, reason, peak = compile_apart(job, phases.append)
    assert reason == ""
    assert compiled is not None
    assert compiled.bytes == Path(job.plan).stat().st_size
    assert peak == 123_000_000
    assert phases == ["tactics 1/2"]
    assert len(compilers.jobs) == 1


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("killed", "the compiler was ended by SIGKILL; end other programs, or export a smaller recipe"),
        ("crashed", "ended by SIGSEGV (Fatal: internal assertion); the compiler crashed: report it"),
        ("silent", "the compiler's process ended with code 3"),
        ("the parser refused expert.onnx: no ArgMax", "the parser refused expert.onnx: no ArgMax"),
        ("Target GPU SM 87 is not supported", "use the TensorRT that JetPack brings"),
        ("expert.plan: No space left on device", "free some disk space and run the same command again"),
        ("a\nb\x1b[1m", "a\\nb\\x1b[1m"),
    ],
)
def test_every_end_is_named(compilers: Compilers, job: Job, behaviour: str, words: str) -> None:
    compilers.behave(expert=behaviour)
    compiled, reason, peak = compile_apart(job, quiet)
    assert compiled is None
    assert words in reason
    assert "\n" not in reason
    assert peak > 1_000_000  # as the kernel counted it
    assert not Path(job.plan).exists()


def test_half_a_plan_of_a_killed_process_is_removed(compilers: Compilers, job: Job) -> None:
    compilers.behave(expert="killed")
    compile_apart(job, quiet)
    assert [path.name for path in Path(job.plan).parent.glob(".*")] == []


def test_half_a_plan_of_an_interrupted_build_is_removed(compilers: Compilers, job: Job) -> None:
    compilers.behave(expert="half")

    def interrupt(phase: str) -> None:
        if phase == "half is written":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_apart(job, interrupt)
    assert [path.name for path in Path(job.plan).parent.glob(".*")] == []


def test_the_kernels_own_kill_is_told_from_others(
    monkeypatch: pytest.MonkeyPatch, compilers: Compilers, job: Job
) -> None:
    kills = iter([4, 5])
    monkeypatch.setattr(graph_process, "_out_of_memory_kills", lambda: next(kills))
    compilers.behave(expert="killed")
    assert "the kernel ended the compiler: out of memory" in compile_apart(job, quiet)[1]


def test_no_driver_is_asked_for_ahead_of_time(compilers: Compilers, job: Job) -> None:
    behaviour = "CUDA driver version is insufficient"
    compilers.behave(expert=behaviour)
    assert compile_apart(job, quiet)[1] == behaviour


def test_on_a_device_an_old_driver_is_named(compilers: Compilers, job: Job) -> None:
    compilers.behave(expert="CUDA initialization failure with error: 35")
    assert "error: 35; update JetPack, or the driver" in compile_apart(replace(job, sm=None), quiet)[1]


def children() -> set[int]:
    """Processes that this thread has started."""
    return set(map(int, Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()))


def test_an_interrupted_build_leaves_no_process(compilers: Compilers, job: Job) -> None:
    compilers.behave(expert="slow")
    before, pids = children(), set[int]()  # a worker of the tests may have a process of Python's own

    def interrupt(_: str) -> None:
        pids.update(children() - before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_apart(job, interrupt)
    assert pids
    assert not any(map(lives, pids))


def test_a_compilers_facts(compilers: Compilers) -> None:
    assert compilers.jobs == []
    assert compiler_facts("tensorrt-rtx") == ("1.7.1", [75, 80, 86, 89, 120])


def worker(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(graph_process, "WORKER", (sys.executable, "-c", code))


def without(module: str) -> str:
    return (
        f"import sys; sys.modules[{module!r}] = None; from wall_edge_engines.build.worker import main; main()"
    )


@pytest.mark.parametrize(
    ("compiler", "module", "fix"),
    [
        ("tensorrt", "tensorrt", "it comes with JetPack, for the system's Python"),
        ("tensorrt-rtx", "tensorrt_rtx", "pip install tensorrt-rtx"),
    ],
)
def test_a_compiler_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, compiler: str, module: str, fix: str
) -> None:
    worker(monkeypatch, without(module))
    with pytest.raises(EngineError, match=fix):
        compiler_facts(compiler)


def test_a_compiler_whose_libraries_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    worker(
        monkeypatch,
        "import ctypes, importlib\n"
        "importlib.import_module = lambda name: ctypes.CDLL('libnvinfer.so.none')\n"
        "from wall_edge_engines.build.worker import main; main()",
    )
    with pytest.raises(EngineError, match=r"^tensorrt: libnvinfer.*; expected the module tensorrt; it"):
        compiler_facts("tensorrt")


def lives(pid: int) -> bool:
    """Whether a process has not ended; the first process of a container may be slow to bury it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_ends_with_its_parent() -> None:
    """Even by kill -9: a compiler that nobody waits for would go on for minutes, with gigabytes."""
    child = (
        "import os, sys, time; from wall_edge_engines.build.worker import main; fd = os.dup(1)\n"
        "class Stdin:\n def readline(self): os.write(fd, b'reads\\n'); time.sleep(600)\n"
        "sys.stdin = Stdin(); main()"
    )
    parent = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=0,"
        " stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid, flush=True); p.wait()"
    )
    command = (sys.executable, "-c", parent, child)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    worker_pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while lives(worker_pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_real_worker_refuses_a_job_that_is_none(
    monkeypatch: pytest.MonkeyPatch, job: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "is missing" in graph_process.ask({"job": {"compiler": "tensorrt"}}, quiet).reason
    assert capfd.readouterr() == ("", "")
    assert not Path(job.plan).exists()
    worker(monkeypatch, "print('{')")
    with pytest.raises(EngineError, match="the compiler's process"):
        graph_process.ask({"job": {}}, quiet)
