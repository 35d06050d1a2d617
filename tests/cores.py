"""Tests on all cores (``pytest -n 2``): which of them run alone, and which share a worker.

A worker holds a lock while a test runs: together with the other workers, or alone if it watches a real clock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

GROUPS = {
    "small": (
        "contract/test_engine",
        "faults/test_export",
        "golden/test_g",
        "unit/test_quantised",
        "unit/test_rewrite",
    ),
    "tabletop": ("faults/test_bundle", "golden/test_bundle", "golden/test_verify"),
}
"""By how test ids start: a group shares traced graphs, in one worker's memory. Other files go anywhere."""
REALTIME = (
    "closed_loop/test_daemon",
    "closed_loop/test_live",
    "contract/test_drive",
    "faults/test_calibration_faults.py::test_a_run_is_recorded",
    "faults/test_calibration_faults.py::test_a_recording_that_fails",
    "faults/test_daemon",
    "faults/test_feetech",
    "faults/test_servo",
    "unit/test_bench",
    "unit/test_policy_process",
    "unit/test_shared",
    "unit/test_timing",
)
"""What watches a real clock. ``@pytest.mark.realtime`` says it too, but then a worker may have to wait."""

# torch's threads wait for one another in busy loops: on cores that others use, a calibration on two threads
# took ten times as long as on one. Set before torch is imported; the commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
    return next((group for group, starts in GROUPS.items() if test.startswith(starts)), test.split("::")[0])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Large groups first, what runs alone last."""
    for item in items:
        if _group(item.nodeid) == "realtime":
            item.add_marker(pytest.mark.realtime)
    places = {group: place for place, group in enumerate((*GROUPS, "others", "realtime"))}
    items.sort(key=lambda item: places.get(_group(item.nodeid), places["others"]))


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
    with _held(Path(item.config.option.basetemp).parent / "cores", together=not _alone(item)):
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
def _held(path: Path, together: bool = False) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH if together else fcntl.LOCK_EX)
        yield
