"""The supervisor's heart: a thread that alone writes the command record, and waits for nothing else.

What the main thread does (a terminal that takes no more output, a log on a dead disk, a process that does not
answer) never comes between a signal and the record that the servo process reads at every tick.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time

import numpy as np

from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import ServoCommand
from wall_edge.signals import ALL_SIGNALS, Received

_BEAT_S = 0.05


class Heart:
    """Writes ``command`` every 50 ms, and at once when something is wanted or a signal came.

    A stop is never taken back, an emergency stop not even by a stop. ``fifo_priority``: SCHED_FIFO of the
    thread where the kernel grants it, so that a busy machine delays no emergency stop.
    """

    def __init__(
        self, command: Mailbox, received: Received | None = None, fifo_priority: int | None = None
    ) -> None:
        self._command, self._received, self._priority = command, received, fifo_priority
        self._order = ServoCommand.HOLD, 0
        self._before: tuple[int, os.sched_param] | None = None
        self._stop = self._emergency = self._closed = False
        self._fd, self._entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def beats(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def hurry(self) -> None:
        """The calling thread shares Python's lock with the heart: it must not be preempted while it holds it.

        The lowest real-time priority until :meth:`close`, which the same thread has to call; processes and
        threads started from here do not inherit it.
        """
        if self._priority is not None:
            with contextlib.suppress(OSError):
                before = os.sched_getscheduler(0), os.sched_getparam(0)
                os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
                self._before = before

    def want(self, command: ServoCommand, epoch: int) -> None:
        """What the servo process is to do from now on, unless a stop was asked for."""
        self._order = command, epoch
        self._wake()

    def stop(self) -> None:
        """Bring the arm to rest."""
        self._stop = True
        self._wake()

    def emergency_stop(self) -> None:
        """Stop the arm where it is."""
        self._emergency = True
        self._wake()

    @property
    def emergency(self) -> bool:
        """Whether the arm is to stop where it is."""
        return self._emergency or (self._received is not None and self._received.emergency)

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked for a stop."""
        return self._received is not None and self._received.interrupted

    def close(self) -> None:
        """No more beats. May be called twice."""
        if self._closed:
            return
        if self._before is not None:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, *self._before)
        self._wake()
        self._closed = True
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._fd)
        os.close(self._entry)

    def _wake(self) -> None:
        if not self._closed:
            with contextlib.suppress(BlockingIOError):  # full: it is awake
                os.write(self._entry, b"\0")

    def _run(self) -> None:
        if self._priority is not None:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(self._priority))
        if self._received is not None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
        record = np.zeros(1, self._command.dtype)[0]
        waiting = [self._fd] if self._received is None else [self._fd, self._received.fd]
        while not self._closed:
            command, epoch = self._order
            if self.emergency:
                command = ServoCommand.EMERGENCY_STOP
            elif self._stop or self.interrupted:
                command = ServoCommand.STOP
            record["command"], record["epoch"], record["heartbeat_ns"] = command, epoch, time.monotonic_ns()
            self._command.write(record)
            select.select(waiting, [], [], _BEAT_S)
            if self._received is not None:
                self._received.read()
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 4096)
