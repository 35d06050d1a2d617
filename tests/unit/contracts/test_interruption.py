"""A stop signal is never forgotten, wherever Python's handler happens to run."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from wall_edge.cli.output import stage_progress
from wall_edge.signals import _AGAIN_S, STOP_SIGNALS, interruptible, interruption_point


class Finalised:
    """Receives a stop signal as it goes: what is raised there Python only prints."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


class Referred: ...


def in_a_finaliser() -> None:
    Finalised()


def in_the_callback_of_a_weak_reference() -> None:
    referred = Referred()
    _kept = weakref.ref(referred, lambda _: signal.raise_signal(signal.SIGINT))
    del referred


def cleared_by_a_library() -> None:
    with suppress(KeyboardInterrupt):  # as PyObject_HasAttrString does
        signal.raise_signal(signal.SIGTERM)


def work(forget: Callable[[], None], stages: list[str]) -> None:
    """Two stages, the first of which receives a signal."""
    with interruptible(), stage_progress("work", ("one", "two")) as stage:
        stages.append("one")
        stage("one")
        forget()
        deadline = time.monotonic() + 20.0
        while forget is not cleared_by_a_library and time.monotonic() < deadline:
            time.sleep(0.001)
        stages.append("end of one")
        stage("two")
        stages.append("two")


@pytest.mark.parametrize("forget", [in_a_finaliser, in_the_callback_of_a_weak_reference])
def test_a_signal_in_a_callback_that_cannot_raise_still_ends_the_work(
    forget: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """CI's export went on after SIGTERM: it had come in ``weakref``'s callback, and exit code 0 followed."""
    handlers, stages = [signal.getsignal(number) for number in STOP_SIGNALS], list[str]()
    with pytest.raises(KeyboardInterrupt):
        work(forget, stages)
    assert stages == ["one"]
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == handlers
    assert "Traceback" not in capsys.readouterr().err


def test_it_is_raised_again_without_a_lock_of_threading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback may have come amid ``threading``, which holds a lock then that no new Thread gets."""

    def locked(thread: threading.Thread) -> None:
        if isinstance(thread, threading.Timer):
            raise AssertionError("this would wait for ever")
        start(thread)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", locked)
    stages: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work(in_a_finaliser, stages)
    assert stages == ["one"]


def test_what_follows_the_block_is_not_interrupted_by_its_echo() -> None:
    """Ended at an interruption point before it was raised again, a command would say a traceback last."""
    echoes: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: echoes.append(number))
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():  # whose end is such a point
            in_the_callback_of_a_weak_reference()
        time.sleep(5 * _AGAIN_S)
    finally:
        signal.signal(signal.SIGINT, before)
    assert echoes == []


def test_a_signal_that_a_library_cleared_ends_the_work_at_its_next_stage() -> None:
    stages: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work(cleared_by_a_library, stages)
    assert stages == ["one", "end of one"]


def test_at_the_latest_the_end_of_the_block_tells() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        cleared_by_a_library()
    with interruptible():  # over: what comes next is not interrupted
        interruption_point()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_errors_of_finalisers_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[type[BaseException] | None] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: told.append(unraisable.exc_type))

    class Faulty:
        def __del__(self) -> None:
            raise ValueError

    with interruptible():
        Faulty()
    assert told == [ValueError]
