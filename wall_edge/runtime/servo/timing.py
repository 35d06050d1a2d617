"""Ticks on absolute deadlines, and how late they were."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

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


class LatencyRecorder:
    """A histogram of non-negative times in bounded memory: bins 2 % wide from 100 ns to 10 s."""

    _FIRST_NS, _RATIO, _BINS = 100.0, 1.02, 931

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(self._BINS, np.int64)
        """[931] times in each bin; the first takes all below 100 ns, the last all above 10 s."""
        self.edges_ns: npt.NDArray[np.float64] = np.geomspace(
            self._FIRST_NS, self._FIRST_NS * self._RATIO ** (self._BINS - 1), self._BINS
        )
        """[931] upper edge of each bin [ns]."""
        self.max_ns = 0
        self.count = 0

    def record(self, value_ns: int) -> None:
        """Adds one time [ns]."""
        self.count += 1
        self.max_ns = max(self.max_ns, value_ns)
        if value_ns <= self._FIRST_NS:
            self.counts[0] += 1
            return
        bin_ = math.ceil(math.log(value_ns / self._FIRST_NS) / _LOG_RATIO)
        self.counts[min(bin_, self._BINS - 1)] += 1

    def percentile(self, percent: float) -> float:
        """Time [ns] that ``percent`` of the them do not exceed, up to 2 % too large; NaN for none."""
        if not self.count:
            return math.nan
        rank = math.ceil(self.count * percent / 100.0)
        bin_ = int(np.searchsorted(np.cumsum(self.counts), max(1, rank)))
        return float(min(self.edges_ns[bin_], self.max_ns)) if bin_ < self._BINS - 1 else float(self.max_ns)

    def summary_us(self) -> dict[str, object]:
        """count, p50, p99, p999, max [µs] (None for no data) and the used part of the histogram."""
        used = np.flatnonzero(self.counts)
        span = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        ranks = {"p50": 50.0, "p99": 99.0, "p999": 99.9}
        return {
            "count": self.count,
            **{name: self.percentile(q) / 1e3 if self.count else None for name, q in ranks.items()},
            "max": self.max_ns / 1e3 if self.count else None,
            "histogram": {
                "edges_us": (self.edges_ns[span] / 1e3).tolist(),
                "counts": self.counts[span].tolist(),
            },
        }


_LOG_RATIO = math.log(LatencyRecorder._RATIO)


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
        self.lateness = LatencyRecorder()
        """From when a tick was due until it began, or was given up."""

    def wait(self) -> int:
        """Sleeps until the next tick is due and returns the time it began [ns]."""
        now = self._clock()
        if not self.ticks:
            self.deadline_ns = now
        self.deadline_ns += self.period_ns
        if now > self.deadline_ns:
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
