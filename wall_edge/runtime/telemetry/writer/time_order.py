"""Lines of many streams in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from wall_edge.runtime.telemetry.writer.line import Line


class TimeOrder:
    """Holds lines back until nothing earlier can come, or what does is late.

    The order within a stream stays, as its numbers say to a successor what is written: an event stamped
    before its predecessor gets that one's time, and one that comes too late the time of the last line out.
    """

    def __init__(self, last_ns: int = 0) -> None:
        self.last_ns = last_ns
        """Time of the last line that went out."""
        self.late = 0
        """Lines that came after a later one had gone out."""
        self._lines: list[tuple[int, Line]] = []
        self._newest: dict[int, int] = {}

    def add(self, line: Line) -> None:
        """A line of a stream, in the order of the stream."""
        time_ns = max(line.time_ns, self._newest.get(line.stream, 0))
        self._newest[line.stream] = time_ns
        self._lines.append((time_ns, line))

    def due(self, until_ns: int | None) -> Iterator[tuple[int, Line]]:
        """Those up to ``until_ns`` (None: all), each with the time it is told at, which never goes back."""
        self._lines.sort(key=itemgetter(0))  # stable: equal times stay as they came
        count = len(self._lines) if until_ns is None else self._before(until_ns)
        lines, self._lines = self._lines[:count], self._lines[count:]
        for time_ns, line in lines:
            self.late += time_ns < self.last_ns
            self.last_ns = max(self.last_ns, time_ns)
            yield self.last_ns, line

    def _before(self, until_ns: int) -> int:
        return next((n for n, (time_ns, _) in enumerate(self._lines) if time_ns > until_ns), len(self._lines))
