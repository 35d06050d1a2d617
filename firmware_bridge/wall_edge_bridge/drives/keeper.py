"""Motors that hold already are commanded while those of other buses are powered: their watchdogs run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from wall_edge.errors import BusError, WallEdgeError
from wall_edge_bridge.drives.base import Drive
from wall_edge_bridge.drives.values import Setpoints

_SHARE = 4
"""How often within a watchdog's time."""
_ATTEMPTS = 3


@contextlib.contextmanager
def kept(drive: Drive, watchdog_s: float, timeout_ns: int, clock: Callable[[], int]) -> Iterator[None]:
    """``drive``, just enabled, holds where it stands as long as the context lasts, by a thread of its own.

    What it meets meanwhile is for the next cycle to find. Raises BusError when its joints cannot be read.
    """
    hold, over = _hold(drive, timeout_ns, clock), threading.Event()

    def feed() -> None:
        while not over.wait(watchdog_s / _SHARE):
            with contextlib.suppress(WallEdgeError, OSError):
                drive.cycle(hold, clock() + timeout_ns)

    thread = threading.Thread(target=feed, name="keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _hold(drive: Drive, timeout_ns: int, clock: Callable[[], int]) -> Setpoints:
    for attempt in range(_ATTEMPTS):
        try:
            position = drive.cycle(None, clock() + timeout_ns).position
        except BusError:
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return Setpoints.hold(drive.limits.clip(position))
    raise AssertionError
