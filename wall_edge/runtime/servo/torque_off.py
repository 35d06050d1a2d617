"""Torque off at the end of the servo loop, on a bus that may be away for a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from wall_edge_bridge.drives.group import DriveGroup

from wall_edge.errors import WallEdgeError
from wall_edge.runtime.servo.joints import Joints

_PATIENCE_NS, _RETRY_NS = 5_000_000_000, 100_000_000
"""How long torque-off is tried, and how often: a USB adapter may be away for a moment."""


class TorqueOff:
    """Tries until every joint has confirmed, on a port that came back too. Times are CLOCK_MONOTONIC ns.

    Every try is made on all buses, whatever became of the others.
    """

    def __init__(
        self,
        joints: Joints,
        open_drives: Callable[[], DriveGroup],
        clock: Callable[[], int],
        sleep: Callable[[int], None],
    ) -> None:
        self._joints, self._open_drives, self._clock, self._sleep = joints, open_drives, clock, sleep
        self._closed = False
        self.tries, self.late_ns = 1, 0

    def run(self, report: Callable[[int, str], None], between: Callable[[], None]) -> str:
        """What the last try met, or an empty string.

        ``report`` is called after each try with its number and what went wrong, ``between`` before another.
        """
        start_ns = self._clock()
        while trouble := self._attempt(report):
            if self._clock() - start_ns > _PATIENCE_NS:
                break
            self._sleep(self._clock() + _RETRY_NS)
            between()
            self.tries += 1
        self.late_ns = self._clock() - start_ns
        return trouble

    def _attempt(self, report: Callable[[int, str], None]) -> str:
        trouble = self._disable()
        report(self.tries, trouble)
        return trouble

    def _disable(self) -> str:
        """What went wrong; all ports are closed then, to be opened anew by their names."""
        try:
            if self._closed:
                self._reopen()
            self._joints.disable()
        except Exception as error:  # noqa: BLE001 - whatever it is, the arm must be let go
            with contextlib.suppress(Exception):
                self._joints.close()
            self._closed = True
            return str(error) if isinstance(error, WallEdgeError | OSError) else f"bug: {error!r}"
        return ""

    def _reopen(self) -> None:
        before = self._joints.drive
        group = self._open_drives()
        for name, drive in group.drives.items():
            if before is not None:
                vars(drive.counters).update(vars(before.drives[name].counters))
        self._joints.drive, self._closed = group, False
