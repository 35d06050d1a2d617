"""One GPU with its context and its memory."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from wall_edge_engines.cuda.driver import Driver

ALIGNMENT = 256
"""Bytes: of the addresses that TensorRT takes, and of what ``cuMemAlloc`` returns."""


class Device:
    """One GPU and its primary context, which becomes current on every thread that calls.

    ``free_soon`` may be called from anywhere, also by the garbage collector while something is captured,
    when nothing may be freed: what it gets is freed before the next allocation or capture.
    """

    def __init__(self, ordinal: int = 0) -> None:
        driver = Driver()
        self.names, self.call = driver.names, driver.call
        self.facts = driver.facts(ordinal)
        self._threads, self._freed = threading.local(), deque[tuple[str, Any]]()
        self._device = driver.device(ordinal)
        self._context = self.call("cuDevicePrimaryCtxRetain", self._device)
        self.enter()

    def enter(self) -> None:
        """Make the context current on this thread; costs nothing but the first time."""
        if not hasattr(self._threads, "entered"):
            self.call("cuCtxSetCurrent", self._context)
            self._threads.entered = True

    def priorities(self) -> tuple[int, int]:
        """Of streams: the least urgent and the most urgent; the lower number goes first."""
        least, greatest = self.call("cuCtxGetStreamPriorityRange")
        return int(least), int(greatest)

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all: of a Jetson the host's, other programs' use counts everywhere."""
        self.enter()
        free, total = self.call("cuMemGetInfo")
        return int(free), int(total)

    def allocate(self, size: int) -> int:
        """The address of at least ``size`` bytes, aligned to :data:`ALIGNMENT`; not zeroed."""
        self.free_now()
        return int(self.call("cuMemAlloc", max(size, 1)))

    def allocate_host(self, size: int) -> int:
        """The address of at least ``size`` bytes of page-locked host memory."""
        self.free_now()
        return int(self.call("cuMemHostAlloc", max(size, 1), 0))

    def free_soon(self, name: str, handle: Any) -> None:
        """Give ``handle`` to the driver function ``name`` later."""
        self._freed.append((name, handle))

    def free_now(self) -> None:
        """Free what :meth:`free_soon` got; never during a capture on this thread."""
        self.enter()
        while True:
            try:
                name, handle = self._freed.popleft()
            except IndexError:
                return
            self.call(name, handle)

    def close(self) -> None:
        """Give the context back."""
        self.free_now()
        self.call("cuDevicePrimaryCtxRelease", self._device)
