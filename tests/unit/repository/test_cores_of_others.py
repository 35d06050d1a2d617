"""Whose time it is that a test about real time competes with (``tests/cores.py``)."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.cores import _own_ticks

BUSY_LOOP = "import sys\nprint(flush=True)\nwhile True: pass"


def test_a_test_s_own_processes_are_no_other_programs() -> None:
    """Or a test whose robot turned in circles would be skipped where it has failed."""
    before = _own_ticks()
    child = subprocess.Popen([sys.executable, "-c", BUSY_LOOP], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        deadline = time.monotonic() + 60
        while (used := _own_ticks() - before) < 20:  # of 10 ms
            assert time.monotonic() < deadline, used
            time.sleep(0.05)
    finally:
        child.kill()
        child.communicate()
    assert _own_ticks() - before >= used
