"""One line of the event log, before it has its place among the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """An event of stream number ``stream``; after a crash its ``sequence`` says what is written already."""

    stream: int
    sequence: int
    time_ns: int
    kind: str
    fields: str = "{}"
    """A JSON object."""


def line_of(stream: int, sequence: int, time_ns: int, kind: str, **fields: Any) -> Line:
    """With fields of plain data."""
    return Line(stream, sequence, time_ns, kind, json.dumps(fields))


def lost_line(stream: int, sequence: int, time_ns: int, count: int) -> Line:
    """``count`` records up to number ``sequence`` were overwritten before they were read."""
    return line_of(stream, sequence, time_ns, "lost", count=count, why="the ring overflowed")


def rendered(line: Line, source: str, time_ns: int) -> bytes:
    """As it stands in the file, at ``time_ns``; ``stamped_ns`` is its own time where that differs."""
    head: dict[str, object] = {"time_ns": time_ns, "kind": line.kind, "source": source, "seq": line.sequence}
    if time_ns != line.time_ns:
        head["stamped_ns"] = line.time_ns
    rest = "}" if line.fields == "{}" else f", {line.fields[1:]}"
    return f"{json.dumps(head)[:-1]}{rest}\n".encode()
