"""Lines of the servo process: its events, a status a second, and a summary when it has ended or died."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.runtime.telemetry.ring.reader import RingReader
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.summary import ServoSummary
from wall_edge.runtime.telemetry.servo.types import EventKind, ServoEvent
from wall_edge.runtime.telemetry.writer.line import Line, line_of, lost_line
from wall_edge.runtime.telemetry.writer.progress import Progress, WriterMemory
from wall_edge.runtime.telemetry.writer.servo_lines import event_fields, event_name, status_fields

Rows = npt.NDArray[Any]

EVENTS, STATUS, RESULT = range(3)
"""Streams, as :data:`~wall_edge.runtime.telemetry.writer.progress.SERVO_STREAMS` names them."""
_STATUS_NS = 1_000_000_000


class ServoStream:
    """Reads both rings once, for the log and for the summary.

    What a predecessor had written is not said again, and what it had added up is not added again: the log and
    the summary each know how far they are.
    """

    def __init__(self, rings: ServoRings, progress: Progress, memory: WriterMemory) -> None:
        self.summary = ServoSummary(rings)
        record = memory.summary.read()
        if record is not None:
            self.summary.restore(record)
        self._rings, self._memory = rings, memory
        self._counters: np.void | None = None
        self._checkpoint = (0, 0, 0)
        self._logged_event, self._logged_status, self._result_life = progress.sequence[: RESULT + 1]
        self._status_ns = progress.time_ns[STATUS]
        self._events = rings.events.reader(min(self._logged_event, self.summary.event_sequence))
        self._statuses = rings.status.reader(min(self._logged_status, self.summary.status_sequence))

    @property
    def idle(self) -> bool:
        """Whether nobody writes."""
        return self._rings.status.idle

    def lines(self) -> Iterator[Line]:
        """Those that are new."""
        over = self._rings.status.over  # before reading: what is there then is all there will be
        # Taken first: before its last event a process has told its last status.
        events = [*_parts(self._events, self._event_lines)]
        parts = [*_parts(self._statuses, self._status_lines), *events]
        self._counters = self._rings.counters.read()  # after the events: before its last one it told them
        for part in sorted(parts, key=lambda part: part.life):  # stable: by process, statuses first
            yield from self._turn(part.life)
            yield from part.tell(part.rows, part.last)
        self.summary.add_counters(self._counters)
        if over:
            yield from self.last_words()
        self._keep()

    def _keep(self) -> None:
        now = (self.summary.life, self.summary.status_sequence, self.summary.event_sequence)
        if now != self._checkpoint:
            self._memory.summary.write(self.summary.checkpoint())
            self._checkpoint = now

    def last_words(self) -> Iterator[Line]:
        """The last status and the summary of a process that ended, died, or is left to itself."""
        summary = self.summary
        if not summary.life or summary.life <= self._result_life:
            return
        if summary.status_sequence > self._logged_status and summary.last["life"]:
            yield self._status_line(summary.last, summary.status_sequence)
        self._result_life = summary.life
        summary.add_counters(self._counters)
        result = {"result": summary.as_dict(trace=False), "ended": summary.ended, "lost": summary.lost}
        yield line_of(RESULT, summary.life, time.monotonic_ns(), "servo_result", **result)

    # --- statuses ---------------------------------------------------------------------------------------

    def _status_lines(self, rows: Rows, last: int) -> Iterator[Line]:
        before = max(self._logged_status, self.summary.status_sequence)
        yield from _gap(STATUS, before, rows, last)
        self.summary.add_statuses(rows, last)
        yield from self._each_second(rows, last)

    def _each_second(self, rows: Rows, last: int) -> Iterator[Line]:
        first, place = last - len(rows) + 1, 0
        place = max(0, self._logged_status - first + 1)
        while True:
            place += int(np.searchsorted(rows["time_ns"][place:], self._status_ns + _STATUS_NS))
            if place >= len(rows):
                return
            yield self._status_line(rows[place], first + place)
            place += 1

    def _status_line(self, row: np.void, sequence: int) -> Line:
        self._logged_status, self._status_ns = sequence, int(row["time_ns"])
        return line_of(STATUS, sequence, self._status_ns, "servo_status", **status_fields(row))

    # --- events -----------------------------------------------------------------------------------------

    def _event_lines(self, rows: Rows, last: int) -> Iterator[Line]:
        yield from _gap(EVENTS, self._logged_event, rows, last)
        self.summary.add_events(rows, last)
        for sequence, row in enumerate(rows, last - len(rows) + 1):
            if sequence > self._logged_event:
                yield from self._event_line(ServoEvent.of(row), sequence)

    def _event_line(self, event: ServoEvent, sequence: int) -> Iterator[Line]:
        self._logged_event = sequence
        yield line_of(EVENTS, sequence, event.time_ns, event_name(event), **event_fields(event))
        if event.kind is EventKind.ENDED:
            yield from self.last_words()

    def _turn(self, life: int) -> Iterator[Line]:
        """Another process writes from here on."""
        if self.summary.life and life > self.summary.life:
            yield from self.last_words()
            self.summary = self.summary.successor(life)


@dataclass(frozen=True)
class _Part:
    """Rows that one process wrote; ``last`` numbers the last of them, ``tell`` makes lines of them."""

    life: int
    rows: Rows
    last: int
    tell: Callable[[Rows, int], Iterator[Line]]


def _parts(reader: RingReader, tell: Callable[[Rows, int], Iterator[Line]]) -> Iterator[_Part]:
    while len(rows := reader.take()):
        ends = [*(np.flatnonzero(np.diff(rows["life"])) + 1).tolist(), len(rows)]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            part = rows[start:end]
            yield _Part(int(part["life"][0]), part, reader.sequence - len(rows) + end, tell)


def _gap(stream: int, before: int, rows: Rows, last: int) -> Iterator[Line]:
    first = last - len(rows) + 1
    if first > before + 1:
        yield lost_line(stream, first - 1, int(rows["time_ns"][0]), first - 1 - before)
