"""Signals that end a run: one way for all of them, and never in the middle of what must not be broken off."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["STOP_SIGNALS", "blocked", "interruptible", "undisturbed"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager, a terminal that went away."""


@contextmanager
def interruptible() -> Iterator[None]:
    """The first stop signal raises KeyboardInterrupt; later ones do not disturb the way to rest."""

    def interrupt(_: int, __: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Stop signals are ignored meanwhile. Outside the main thread, which gets none, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextmanager
def blocked() -> Iterator[None]:
    """Stop signals wait meanwhile; a process started here begins with them blocked too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
