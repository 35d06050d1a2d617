"""The event log as its readers see it: JSON lines, one event a line, in files that rotate."""

from __future__ import annotations

import io
from pathlib import Path

from wall_edge.errors import ConfigError
from wall_edge.files import open_regular, parse_json


def numbered(path: Path, number: int) -> Path:
    """The file of a log that was rotated so many times."""
    return path.with_name(f"{path.name}.{number}") if number else path


def event_files(path: str | Path) -> list[Path]:
    """The files of a log, oldest first: ``path.2``, ``path.1``, ``path``."""
    path = Path(path)
    rotated: list[Path] = []
    while (older := numbered(path, len(rotated) + 1)).exists():
        rotated.append(older)
    return [*reversed(rotated), path]


def read_events(path: str | Path) -> list[dict[str, object]]:
    """All events of a log, in order, those in rotated files (``path.1`` …) first.

    Raises ConfigError for what is no file of at most 512 MB. A line that a dying process left unfinished
    becomes ``{"kind": "damaged", "line": number, "text": …}``.
    """
    events: list[dict[str, object]] = []
    for part in event_files(path):
        with open_regular(part, ConfigError) as file:
            for number, line in enumerate(io.TextIOWrapper(file, "utf-8", "replace"), 1):
                try:
                    event = parse_json(line, str(part), ConfigError)
                except ConfigError:
                    event = None
                damaged = {"kind": "damaged", "line": number, "text": line.rstrip("\n")}
                events.append(event if isinstance(event, dict) else damaged)
    return events
