"""Signals that end a run: one way for all of them, and never in the middle of what must not be broken off.

A signal is noted by the kernel's own handler, which writes a byte into a pipe (``signal.set_wakeup_fd``): a
thread that reads the pipe learns of it at once, whatever the main thread waits for.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Ctrl-C, a service manager, a terminal that went away, Ctrl-backslash."""
EMERGENCY_SIGNAL = signal.SIGUSR1
"""To any process of the daemon: stop the arm where it is."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a command that Ctrl-C ended, as shells have it."""
_JOB_SIGNALS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""A terminal that would suspend us: whoever watches over a powered arm is not to be suspended."""
_OTHERWISE = {
    *STOP_SIGNALS,
    *_JOB_SIGNALS,
    EMERGENCY_SIGNAL,
    signal.SIGKILL,
    signal.SIGSTOP,
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),  # nothing happens by default
    *(signal.SIGPIPE, signal.SIGXFSZ),  # Python makes errors of them
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),  # bugs
    *(signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
}
ENDING_SIGNALS = tuple(sorted(number for number in signal.valid_signals() if number not in _OTHERWISE))
"""Whatever else would end a process by default (SIGUSR2, SIGALRM, SIGXCPU …): to the daemon, a stop."""
ALL_SIGNALS = (*STOP_SIGNALS, *ENDING_SIGNALS, EMERGENCY_SIGNAL, *_JOB_SIGNALS)
"""Those that a process of the daemon must not be ended or suspended by."""

_AGAIN_S = 0.02
"""Until an interruption that was forgotten is raised again: out of the finaliser that it fell into."""

_Handler = Callable[[int, FrameType | None], Any] | signal.Handlers


class Received:
    """What has been received since :func:`received` began; ``fd`` is readable when there is something new."""

    def __init__(self) -> None:
        self.fd, self.entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.interrupted = False
        """A signal that stops the arm by the way of its rest pose."""
        self.emergency = False
        """The signal that stops it where it is."""

    def note(self, number: int, _: FrameType | None = None) -> None:
        """A signal has come; may be said twice."""
        if number == EMERGENCY_SIGNAL:
            self.emergency = True
        else:
            self.interrupted = True

    def read(self) -> None:
        """Note what has come, from any thread; never waits."""
        with suppress(BlockingIOError):
            for number in os.read(self.fd, 4096):
                self.note(number)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.entry)


@contextmanager
def received() -> Iterator[Received]:
    """For whoever drives an arm: signals are only noted, and a terminal suspends nobody.

    Nothing is ever broken off by an exception out of nowhere. Here the signals wait; the thread that unblocks
    them and reads ``fd`` (``daemon.heart``) gets them, however busy the machine keeps this one.
    Main thread only.
    """
    signals = Received()
    stops = (*STOP_SIGNALS, *ENDING_SIGNALS, EMERGENCY_SIGNAL)
    handlers: dict[int, _Handler] = dict.fromkeys(stops, signals.note)
    handlers |= dict.fromkeys(_JOB_SIGNALS, signal.SIG_IGN)
    with blocked(), _handled(handlers):
        former = signal.set_wakeup_fd(signals.entry, warn_on_full_buffer=False)
        try:
            yield signals
        finally:
            signal.set_wakeup_fd(former)
            signals.close()


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Stop signals only set a flag, which the function given here tells."""
    numbers: list[int] = []
    with _handled(dict.fromkeys(STOP_SIGNALS, lambda number, _: numbers.append(number))):
        yield lambda: bool(numbers)


class _Interruption:
    """An :func:`interruptible` block, and the stop signal that it has received."""

    innermost: _Interruption | None = None

    def __init__(self) -> None:
        self.number: int | None = None
        self._over, self._ending = False, _thread.allocate_lock()

    def interrupt(self, number: int, _: FrameType | None = None) -> None:
        """The signals' handler: the first raises, the others are ignored from then on."""
        if self._over and self.number is not None:  # an echo: the block has ended by it
            return
        self.number = number
        for ignored_now in STOP_SIGNALS:
            signal.signal(ignored_now, signal.SIG_IGN)
        raise KeyboardInterrupt

    def again(self, number: int) -> None:
        """Once more in a moment, outside of what the exception fell into."""
        signal.signal(number, self.interrupt)
        # Not threading.Timer: this may run while this very thread holds the locks of that module.
        _thread.start_new_thread(self._raise_later, (number,))

    def _raise_later(self, number: int) -> None:
        time.sleep(_AGAIN_S)
        with self._ending:
            if not self._over:
                _thread.interrupt_main(signal.Signals(number))

    def end(self) -> None:
        """What still waits to be raised is no business of what follows the block."""
        with self._ending:
            self._over = True


@contextmanager
def interruptible() -> Iterator[None]:
    """The first stop signal raises KeyboardInterrupt, for work that cleans up behind itself.

    Python forgets an exception that falls into a finaliser or a weak reference's callback, and a library's C
    code may clear it. So what was forgotten is raised once more a moment later, at the next
    :func:`interruption_point`, or at the latest when the block ends. Main thread only.
    """
    this = _Interruption()

    def forgotten(unraisable: Any) -> None:
        if this.number is None or unraisable.exc_type is not KeyboardInterrupt:
            told(unraisable)
        else:
            this.again(this.number)

    outer, told = _Interruption.innermost, sys.unraisablehook
    try:
        with _handled(dict.fromkeys(STOP_SIGNALS, this.interrupt)):
            _Interruption.innermost, sys.unraisablehook = this, forgotten
            try:
                yield
                interruption_point()
            finally:
                this.end()
    finally:
        _Interruption.innermost, sys.unraisablehook = outer, told


def interruption_point() -> None:
    """Between two steps of long work: raises the KeyboardInterrupt of a signal that should have ended it."""
    if _Interruption.innermost is not None and _Interruption.innermost.number is not None:
        raise KeyboardInterrupt


@contextmanager
def _handled(handlers: Mapping[int, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def ignored() -> None:
    """From now on this process is not ended or suspended by a signal of ours, not even by one that waits."""
    for number in ALL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)


@contextmanager
def blocked() -> Iterator[None]:
    """Signals wait; a process started here begins with them waiting, until it has set its own handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hold() -> None:
    """A command's first line: signals wait until it has set its handlers, and again when it gives them up.

    So neither its imports nor its last words are broken off.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)


def unhold() -> None:
    """For commands that need not hold signals: those that waited come now. May raise KeyboardInterrupt."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
