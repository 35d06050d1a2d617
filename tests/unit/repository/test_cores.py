"""How tests share the cores (``tests/cores.py``): no process that one has left keeps the others out."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import cores

BUSY_LOOP = "import sys\nprint(flush=True)\nwhile True: pass"


@contextmanager
def left_behind() -> Iterator[None]:
    """A forked process, with all that is open now, that outlives the block before it."""
    child = os.fork()
    if not child:
        try:
            time.sleep(60)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def free(path: Path) -> bool:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_forked_process_keeps_no_lock(tmp_path: Path) -> None:
    held = cores._held(tmp_path / "cores")
    held.__enter__()
    with left_behind():
        assert not free(tmp_path / "cores")
        held.__exit__(None, None, None)
        assert free(tmp_path / "cores")


def test_a_forked_process_keeps_no_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    core = cores._one_core(tmp_path)
    core.__enter__()
    with left_behind():
        core.__exit__(None, None, None)
        assert free(tmp_path / "core0")


@pytest.mark.parametrize(("idle", "own", "outcome"), [(50, 140, "failed"), (50, 20, "skipped")])
def test_what_failed_while_others_took_the_cores_is_skipped(
    monkeypatch: pytest.MonkeyPatch, idle: int, own: int, outcome: str
) -> None:
    """Of 200 ticks; those of the test's own processes count for it."""
    monkeypatch.setattr(cores, "_core_time", lambda: (1000 + idle, 9200))
    monkeypatch.setattr(cores, "_own_ticks", lambda: 70 + own)
    item: Any = SimpleNamespace(stash=pytest.Stash(), location=("test_x.py", 3, "test_x"))
    item.stash[cores._BEGAN] = (1000, 9000, 70)
    told = SimpleNamespace(failed=True, outcome="failed", longrepr=None)
    wrapper = cores.pytest_runtest_makereport(item, SimpleNamespace(when="call"))  # type: ignore[arg-type]
    next(wrapper)
    with pytest.raises(StopIteration) as ended:
        wrapper.send(told)
    assert ended.value.value is told
    assert told.outcome == outcome


def test_a_test_s_own_processes_are_no_other_programs() -> None:
    """Or a test whose robot turned in circles would be skipped where it has failed."""
    before = cores._own_ticks()
    child = subprocess.Popen([sys.executable, "-c", BUSY_LOOP], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        deadline = time.monotonic() + 60
        while (used := cores._own_ticks() - before) < 3:  # of 10 ms, also when others have the cores
            assert time.monotonic() < deadline, used
            time.sleep(0.05)
    finally:
        child.kill()
        child.communicate()
    assert cores._own_ticks() - before >= used
