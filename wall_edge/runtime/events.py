"""The event log: JSON lines, one event a line. Not for the servo thread."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from types import TracebackType

import numpy as np

from wall_edge.errors import ConfigError

__all__ = ["EventLog", "read_events"]


class EventLog:
    """Appends events to ``path``; each line reaches the kernel at once, so a crash loses at most one.

    One writer a process; several processes may append to the same file. Raises ConfigError when the file
    does not open. A disk that fills up later ends the log, not the robot; ``failed`` says so.
    """

    def __init__(self, path: str | Path) -> None:
        self.failed: OSError | None = None
        try:
            self._file = Path(path).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - see close()
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror}",
                expected="a file that can be appended to",
                fix="choose another path",
            ) from error

    def write(self, kind: str, /, *, time_ns: int | None = None, **fields: object) -> None:
        """Adds an event: CLOCK_MONOTONIC time [ns] (default now), kind and any JSON or numpy values."""
        event = {"time_ns": time.monotonic_ns() if time_ns is None else time_ns, "kind": kind, **fields}
        if self.failed is not None:
            return
        try:
            self._file.write(json.dumps(event, default=_plain) + "\n")
        except OSError as error:
            self.failed = error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_events(path: str | Path) -> list[dict[str, object]]:
    """All events of a file, in its order.

    A line that a dying process left unfinished becomes ``{"kind": "damaged", "line": number, "text": …}``.
    """
    events: list[dict[str, object]] = []
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            damaged = {"kind": "damaged", "line": number, "text": line.rstrip("\n")}
            events.append(event if isinstance(event, dict) else damaged)
    return events


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
