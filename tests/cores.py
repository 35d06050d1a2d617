"""Tests on all cores (``pytest -n 4``): which of them run alone, and which share a worker.

A worker holds a lock while a test runs: together with the other workers, or alone if it is about real time.
Of those that compute, only as many run at once as there are cores; those that wait run beside them. What is
about real time is skipped while other programs keep the cores busy, for it would measure those.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import pytest

from tests.robot_side import deselect

GROUPS = {
    "small": (
        "contract/test_engine",
        "faults/export/test_export",
        "golden/test_g",
        "unit/plan/test_onnx_work.py::test_files_and_model_agree_in",
        "unit/quantize/test_quantised",
        "unit/quantize/test_rewrite",
    ),
    "tabletop": ("faults/files/test_bundle", "golden/test_bundle", "golden/test_verify"),
    "full width": (
        "unit/build/test_ahead_of_time.py::test_full_width",
        "unit/build/test_ahead_of_time.py::test_no_8",
    ),
    "tabletop ahead of time": ("unit/build/test_ahead_of_time.py::test_tabletop",),
}
"""By how test ids start: a group shares traced graphs, in one worker's memory. Other files go anywhere."""
REALTIME = (
    "closed_loop/test_daemon.py::test_episodes_end_to_end",
    "closed_loop/test_daemon.py::test_subgoals_never_stall_the_action_loop",
)
"""What asserts something about real time, test by test. ``@pytest.mark.realtime`` says it too."""
WAITING = (
    "closed_loop/test_daemon",
    "closed_loop/test_live",
    "contract/test_drive",
    "faults/deploy/",
    "faults/robot/test_calibration_faults.py::test_a_run_is_recorded",
    "faults/robot/test_calibration_faults.py::test_a_recording_that_fails",
    "faults/robot/test_daemon",
    "faults/robot/test_log_kills",
    "faults/robot/test_feetech",
    "faults/robot/test_servo",
    "faults/robot/test_service",
    "faults/robot/test_systemd",
    "faults/robot/test_watchdogs",
    "unit/benchmarks/test_bench_loop",
    "unit/bridge/damiao/test_damiao_killed",
    "unit/bridge/drives/test_keeper",
    "unit/bridge/transport/test_monitor_command",
    "unit/contracts/test_command_line",
    "unit/daemon/test_release",
    "unit/repository/test_installation",
    "unit/policy/test_policy_process",
    "unit/daemon/test_mailbox",
    "unit/servo/test_timing",
    "unit/daemon/test_process_table",
    "unit/telemetry/test_ring",
    "unit/telemetry/test_writer",
)
"""What waits most of its time, for processes that it started or for a clock. Any worker may run each."""
_BEGAN = pytest.StashKey[tuple[int, int, int]]()
BUSY = 0.4
"""Share of the cores' time that other programs may take beside a test about real time."""

# torch's threads wait for one another in busy loops: on cores that others use, a calibration on two threads
# took ten times as long as on one. Set before torch is imported; the commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts its background with Ctrl-C ignored, and the commands that tests start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def threads_as_shipped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs alone starts daemons as a user does."""
    if _alone(request.node):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def _alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("realtime") is not None


def _group(nodeid: str) -> str:
    test = nodeid.removeprefix("tests/")
    if test.startswith(REALTIME):
        return "realtime"
    if test.startswith(WAITING):
        return test
    return next((group for group, starts in GROUPS.items() if test.startswith(starts)), test.split("::")[0])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Large groups first, what runs alone last."""
    places = {group: place for place, group in enumerate((*GROUPS, "waiting", "others", "realtime"))}

    def place(item: pytest.Item) -> int:
        group = _group(item.nodeid)
        if group == "realtime":
            item.add_marker(pytest.mark.realtime)
        return places["waiting" if "::" in group else group if group in places else "others"]

    items.sort(key=place)
    deselect(config, items)


@pytest.fixture(autouse=True)
def on_a_quiet_machine(request: pytest.FixtureRequest) -> None:
    """What is about real time waits a little for the last test's processes to end, then is skipped."""
    if not _alone(request.node):
        return
    for _ in range(20):
        busy = _busy(0.25)
        if busy <= BUSY:
            request.node.stash[_BEGAN] = *_core_time(), _own_ticks()
            return
    pytest.skip(f"about real time: other programs take {busy:.0%} of the cores")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """One that failed while other programs took the cores meanwhile is skipped too: it measured those."""
    report = yield
    if report.failed and call.when == "call" and (began := item.stash.get(_BEGAN, None)):
        busy = _taken_by_others(*began)
        if busy > BUSY:
            path, line, _ = item.location
            words = f"Skipped: about real time: other programs took {busy:.0%} of the cores meanwhile"
            report.outcome, report.longrepr = "skipped", (path, line or 0, words)
    return report


def _taken_by_others(idle: int, total: int, own: int) -> float:
    """Share of all cores' time since then that neither was idle nor went to this process and its children."""
    idle_now, total_now = _core_time()
    passed = max(total_now - total, 1)
    return (passed - (idle_now - idle) - (_own_ticks() - own)) / passed


def _own_ticks() -> int:
    """Of this process and of all below it, whether they have ended or not."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = path.read_text().rpartition(")")[2].split()
            number = int(path.parent.name)
            parents[number], ticks[number] = int(fields[1]), sum(map(int, fields[11:15]))

    def is_ours(number: int) -> bool:
        while number not in (0, os.getpid()):
            number = parents.get(number, 0)
        return number != 0

    return sum(used for number, used in ticks.items() if is_ours(number))


def _busy(seconds: float) -> float:
    """Share of all cores' time that was used while this process slept; 0 where nobody counts it."""
    try:
        before = _core_time()
        time.sleep(seconds)
        idle, total = (after - was for after, was in zip(_core_time(), before, strict=True))
    except OSError:
        return 0.0
    return 1 - idle / max(total, 1)


def _core_time() -> tuple[int, int]:
    """Idle and all ticks of all cores since the machine started."""
    counts = [int(count) for count in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return counts[3] + counts[4], sum(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Groups, in their order. (Not by ``xdist_group``: pytest-xdist 3.8 ignores it under pytest 9.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Wait, outside of the test's timeout, until it may run."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    locks = Path(item.config.option.basetemp).parent
    waits = _alone(item) or item.nodeid.removeprefix("tests/").startswith(WAITING)
    with _held(locks / "cores", together=not _alone(item)), nullcontext() if waits else _one_core(locks):
        return (yield)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker to need it makes for all."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with _held(folder.with_suffix(".lock")):
        if not folder.exists():
            make(folder)
    return folder


@contextmanager
def _one_core(folder: Path) -> Iterator[None]:
    """As many workers hold one at once as there are cores."""
    with ExitStack() as files:
        locks = [files.enter_context((folder / f"core{n}").open("w")) for n in range(os.cpu_count() or 1)]
        while not (taken := next(filter(_taken, locks), None)):
            time.sleep(0.005)
        try:
            yield
        finally:
            fcntl.flock(taken, fcntl.LOCK_UN)


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _held(path: Path, together: bool = False) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH if together else fcntl.LOCK_EX)
        try:
            yield
        finally:  # closing it is not enough: a process that a test has forked and left has it open too
            fcntl.flock(lock, fcntl.LOCK_UN)
