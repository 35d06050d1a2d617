"""Events of processes that have time: a kind and JSON fields, through a ring instead of a file.

A record longer than a slot goes in consecutive parts. Unlike the servo process these writers may allocate and
hold a lock for a moment, among the threads of one process.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass

import numpy as np

from wall_edge.runtime.telemetry.ring.ring import Ring
from wall_edge.runtime.telemetry.servo.types import decoded, encoded

_KIND_BYTES, _PART_BYTES = 40, 376
_DTYPE = np.dtype(
    [
        ("time_ns", np.int64),
        ("part", np.int64),
        ("parts", np.int64),
        ("length", np.int64),
        ("kind", f"S{_KIND_BYTES}"),
        ("json", np.uint8, (_PART_BYTES,)),
    ]
)
_SLOTS = 4096
RESERVED = ("time_ns", "stamped_ns", "kind", "source", "seq")
"""Names that the log's lines have for themselves."""


@dataclass(frozen=True)
class TextEvent:
    """``fields`` is a JSON object; ``first`` and ``sequence`` number the record's first and last part."""

    time_ns: int
    kind: str
    fields: str
    first: int
    sequence: int


class EventRing:
    """Writes events, and never raises for what it is given; for one process."""

    def __init__(self, slots: int = _SLOTS) -> None:
        self.__setstate__(Ring(_DTYPE, slots))

    def __getstate__(self) -> Ring:
        return self.ring

    def __setstate__(self, ring: Ring) -> None:
        self.ring = ring
        self._row = np.zeros(1, _DTYPE)
        self._lock = threading.Lock()
        self._most_parts = max(1, ring.slots.capacity // 8)

    def write(self, kind: str, /, *, time_ns: int | None = None, **fields: object) -> None:
        """Adds an event: CLOCK_MONOTONIC time [ns] (default now), kind and any JSON or numpy values.

        What is no JSON, or longer than an eighth of the ring, is replaced by an event ``lost`` that says so.
        """
        fields = {f"{name}_" if name in RESERVED else name: value for name, value in fields.items()}
        try:
            text, why = json.dumps(fields, default=_plain).encode(), "too long"
        except (TypeError, ValueError):  # nothing of a log may end a run
            text, why = b"", "no JSON"
        if not text or -(-len(text) // _PART_BYTES) > self._most_parts:
            kind, text = "lost", json.dumps({"count": 1, "what": kind[:_KIND_BYTES], "why": why}).encode()
        with self._lock:
            self._write(kind, time.monotonic_ns() if time_ns is None else time_ns, text)

    def _write(self, kind: str, time_ns: int, text: bytes) -> None:
        row = self._row
        row["time_ns"], row["kind"] = time_ns, encoded(kind, _KIND_BYTES)
        row["parts"] = -(-len(text) // _PART_BYTES)
        for part in range(int(row["parts"][0])):
            piece = text[part * _PART_BYTES : (part + 1) * _PART_BYTES]
            row["part"], row["length"] = part, len(piece)
            row["json"][0, : len(piece)] = np.frombuffer(piece, np.uint8)
            self.ring.write(row[0])

    def close(self) -> None:
        """Nothing follows."""
        self.ring.close()

    def reader(self, after: int = 0) -> EventReader:
        """Reads what follows sequence number ``after``; from the oldest on without it."""
        return EventReader(self, after)


class EventReader:
    """Takes whole events; ``lost`` counts the parts of those that were overwritten, or never finished."""

    def __init__(self, events: EventRing, after: int = 0) -> None:
        self._reader = events.ring.reader(after)
        self._parts: list[bytes] = []
        self._torn = 0

    @property
    def sequence(self) -> int:
        """Of the last part taken, or passed over."""
        return self._reader.sequence

    @property
    def settled(self) -> int:
        """Of the last part of the last event, taken or lost: a successor reads after it."""
        return self._reader.sequence - len(self._parts)

    @property
    def lost(self) -> int:
        """Parts that did not come to a whole event."""
        return self._reader.lost + self._torn

    def take(self) -> list[TextEvent]:
        """The next events, in order; empty when there is none."""
        before = self._reader.lost
        rows = self._reader.take()
        if self._reader.lost != before:
            self._drop()
        first = self._reader.sequence - len(rows) + 1
        events = (self._joined(row, first + place) for place, row in enumerate(rows))
        return [event for event in events if event is not None]

    def _joined(self, row: np.void, sequence: int) -> TextEvent | None:
        part, parts = int(row["part"]), int(row["parts"])
        if part == 0:
            self._drop()  # a writer that died amid an event, and its successor
        if part != len(self._parts):
            self._torn += 1
            return None
        self._parts.append(row["json"][: int(row["length"])].tobytes())
        if part + 1 < parts:
            return None
        text = b"".join(self._parts).decode()
        self._parts = []
        return TextEvent(int(row["time_ns"]), decoded(row["kind"]), text, sequence - part, sequence)

    def _drop(self) -> None:
        self._torn += len(self._parts)
        self._parts = []


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
