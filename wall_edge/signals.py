"""Signals that end a run: one way for all of them, and never in the middle of what must not be broken off."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["EMERGENCY_SIGNAL", "STOP_SIGNALS", "blocked", "emergency_flag", "interruptible", "stop_flag"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager, a terminal that went away."""
EMERGENCY_SIGNAL = signal.SIGUSR1
"""To the daemon: stop the arm where it is."""


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Stop signals only set a flag, which the function given here tells.

    For whoever drives an arm: nothing is ever broken off by an exception out of nowhere.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    with _handled_by(note):
        yield lambda: bool(received)


@contextmanager
def emergency_flag() -> Iterator[Callable[[], bool]]:
    """As :func:`stop_flag`, for ``EMERGENCY_SIGNAL``."""
    received: list[int] = []
    with _handled_by(lambda number, _: received.append(number), (EMERGENCY_SIGNAL,)):
        yield lambda: bool(received)


@contextmanager
def interruptible() -> Iterator[None]:
    """The first stop signal raises KeyboardInterrupt, for work that cleans up behind itself."""

    def interrupt(_: int, __: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], None], numbers: Sequence[signal.Signals] = STOP_SIGNALS
) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextmanager
def blocked() -> Iterator[None]:
    """A process started here begins with stop signals blocked, until it has set its own handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
