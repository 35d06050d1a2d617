"""A clock on which only what a drive is answerable for takes time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wall_edge_bridge.sim import VirtualClock

_TRIES, _CALLS = 20, 100
"""To find what the clock itself costs."""


class DriveClock(VirtualClock):
    """[ns] Goes on with this thread's processor time unless it is stopped; ``sleep`` skips ahead.

    What it costs to ask it is measured at first, and does not count: a real clock costs next to nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._call_ns = self._stop_ns = 0
        self._stopped_ns = 0
        self._began_ns = time.thread_time_ns()
        self._stop_ns = self._cost(self._pause)
        self._call_ns = self._cost(self)

    def _cost(self, action: Callable[[], object]) -> int:
        """What of a call of ``action`` counts, the least of several tries; the call of anything aside."""
        costs = [self._counted(action) - self._counted(_nothing) for _ in range(_TRIES)]
        return max(0, min(costs) // _CALLS)

    def _counted(self, action: Callable[[], object]) -> int:
        start_ns = time.thread_time_ns() - self._began_ns
        for _ in range(_CALLS):
            action()
        return time.thread_time_ns() - self._began_ns - start_ns

    def __call__(self) -> int:
        if self._stopped_ns:
            return self.now_ns + self._stopped_ns - self._began_ns
        self._began_ns += self._call_ns
        return self.now_ns + time.thread_time_ns() - self._began_ns

    def sleep(self, until_ns: int) -> None:
        self.now_ns += max(0, until_ns - self())

    def stop(self) -> None:
        self._stopped_ns = time.thread_time_ns()

    def go_on(self) -> None:
        self._began_ns += time.thread_time_ns() - self._stopped_ns + self._stop_ns
        self._stopped_ns = 0

    def _pause(self) -> None:
        self.stop()
        self.go_on()

    @property
    def cpu_ns(self) -> int:
        """Processor time that counted so far."""
        return self() - self.now_ns


def _nothing() -> None:
    """What a call costs."""


class WireApart:
    """A wire of either sort in which the drive's clock stands still, but for what it sleeps."""

    def __init__(self, wire: Any, clock: DriveClock) -> None:
        self._wire, self._clock = wire, clock
        self.description = wire.description
        self.health = getattr(wire, "health", None)
        self.close = wire.close

    def send(self, *what: Any) -> None:
        self._clock.stop()
        try:
            self._wire.send(*what)
        finally:
            self._clock.go_on()

    def receive(self, *what: Any) -> Any:
        self._clock.stop()
        try:
            return self._wire.receive(*what)
        finally:
            self._clock.go_on()


@contextmanager
def no_collection() -> Iterator[None]:
    """No search for unreachable objects meanwhile: a servo process has switched it off."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
