"""Lines of one event ring."""

from __future__ import annotations

import time
from collections.abc import Iterator

from wall_edge.runtime.telemetry.ring.events import EventRing
from wall_edge.runtime.telemetry.writer.line import Line, lost_line


class EventStream:
    """What a process says in a kind and JSON fields, as stream number ``stream``, after number ``after``."""

    def __init__(self, stream: int, events: EventRing, after: int) -> None:
        self._stream, self._ring, self._reader = stream, events.ring, events.reader(after)
        self._noted = 0

    def lines(self) -> Iterator[Line]:
        """Those that are new."""
        while events := self._reader.take():
            yield from self._losses(events[0].first - 1, events[0].time_ns)
            for event in events:
                yield Line(self._stream, event.sequence, event.time_ns, event.kind, event.fields)
        yield from self._losses(self._reader.settled, time.monotonic_ns())

    def _losses(self, sequence: int, time_ns: int) -> Iterator[Line]:
        if count := self._reader.lost - self._noted:
            self._noted += count
            yield lost_line(self._stream, sequence, time_ns, count)

    @property
    def idle(self) -> bool:
        """Whether nobody writes."""
        return self._ring.idle
