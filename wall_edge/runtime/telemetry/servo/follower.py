"""A reader that keeps a servo process's summary up to date while the process lives."""

from __future__ import annotations

from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.summary import ServoSummary


class ServoFollower:
    """Call :meth:`read` within every few seconds: the rings hold no more."""

    def __init__(self, rings: ServoRings) -> None:
        self._status, self._events = rings.status.reader(), rings.events.reader()
        self.summary = ServoSummary(rings.status.dtype)

    def read(self) -> None:
        """Adds what is new."""
        while len(rows := self._status.take()):
            self.summary.add_statuses(rows, self._status.sequence)
        while len(rows := self._events.take()):
            self.summary.add_events(rows, self._events.sequence)
