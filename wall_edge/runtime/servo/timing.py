"""Ticks on absolute deadlines, and how late they were."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable

from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder

_CLOCK_MONOTONIC, _TIMER_ABSTIME = 1, 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


_nanosleep = ctypes.CDLL(None).clock_nanosleep
_nanosleep.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Timespec), ctypes.c_void_p]


def sleep_until(deadline_ns: int) -> None:
    """Sleeps to an absolute CLOCK_MONOTONIC time [ns], through signals; at once when it has passed.

    ``time.sleep`` counts from the moment it is called, so a preemption just before it delays the wake-up, and
    up to Python 3.10 it rounds to microseconds.
    """
    until = _Timespec(deadline_ns // 1_000_000_000, deadline_ns % 1_000_000_000)
    while (code := _nanosleep(_CLOCK_MONOTONIC, _TIMER_ABSTIME, until, None)) == errno.EINTR:
        pass
    if code:
        raise OSError(code, os.strerror(code))


_MOST_MISSED = 1000
"""Of one stall, so that counting it does not make the next."""


class Ticker:
    """Ticks at multiples of ``period_ns`` after the first call; a missed tick is left out, never caught up.

    ``clock`` and ``sleep`` (to an absolute time) are CLOCK_MONOTONIC ns.
    """

    def __init__(
        self,
        period_ns: int,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[int], None] = sleep_until,
    ) -> None:
        self.period_ns, self._clock, self._sleep = period_ns, clock, sleep
        self.deadline_ns = 0
        """When the present tick was due."""
        self.ticks = 0
        self.overruns = 0
        """Ticks whose work ended after the next one was due."""
        self.skipped = 0
        """Ticks that never ran because of that."""
        self.overrun_ns = -1
        """How far the work before this tick ran past the next deadline; -1 for not."""
        self.lateness = LatencyRecorder()
        """From when a tick was due until it began, or was given up."""

    @property
    def next_ns(self) -> int:
        """When the next tick is due: the setpoints of this one are for then."""
        return self.deadline_ns + self.period_ns

    def wait(self) -> int:
        """Sleeps until the next tick is due and returns the time it began [ns]."""
        now = self._clock()
        if not self.ticks:
            self.deadline_ns = now
        self.deadline_ns += self.period_ns
        self.overrun_ns = -1
        if now > self.deadline_ns:
            self.overrun_ns = now - self.deadline_ns
            missed = -((self.deadline_ns - now) // self.period_ns)
            for k in range(min(missed, _MOST_MISSED)):  # a tick that never ran was late all the same
                self.lateness.record(now - self.deadline_ns - k * self.period_ns)
            self.overruns += 1
            self.skipped += missed
            self.deadline_ns += missed * self.period_ns
        self._sleep(self.deadline_ns)
        now = self._clock()
        self.lateness.record(max(0, now - self.deadline_ns))
        self.ticks += 1
        return now
