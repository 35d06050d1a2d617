"""The event log: JSON lines, one event a line. Not for the servo thread."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import stat
import threading
import time
from pathlib import Path
from types import TracebackType

import numpy as np

from wall_edge.errors import ConfigError
from wall_edge.files import open_regular, parse_json

MAX_BYTES, FILES = 32 * 1024 * 1024, 8
"""A file's size and how many are kept: a day of chunks is about 300 MB."""
_WAITING = 4000
_CLOSE_S = 2.0


class EventLog:
    """Appends events to ``path``, in a thread of its own: a disk that hangs costs events, never time.

    Each line reaches the kernel at once. At ``max_bytes`` the file becomes ``path.1``, that one ``path.2``
    and so on; ``files`` are kept. One writer a process; several processes may append to the same file, one
    of them may ``rotate``. Raises ConfigError when the file does not open. A disk that fills up later ends
    the log, not the robot; ``failed`` says so, ``lost`` how many events found no room in it.
    """

    def __init__(
        self, path: str | Path, *, rotate: bool = True, max_bytes: int = MAX_BYTES, files: int = FILES
    ) -> None:
        self.failed: OSError | None = None
        self.lost = 0
        self._path, self._max_bytes, self._files = Path(path), max_bytes, files
        try:
            self._fd = _opened(self._path)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{path}: {getattr(error, 'strerror', None) or error}",
                expected="a file that can be appended to",
                fix="choose another path",
            ) from error
        self._rotates = rotate and stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._lines: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def write(self, kind: str, /, *, time_ns: int | None = None, **fields: object) -> None:
        """Adds an event: CLOCK_MONOTONIC time [ns] (default now), kind and any JSON or numpy values."""
        event = {"time_ns": time.monotonic_ns() if time_ns is None else time_ns, "kind": kind, **fields}
        try:
            self._lines.put_nowait((json.dumps(event, default=_plain) + "\n").encode())
        except (queue.Full, TypeError, ValueError):  # the last two: no JSON; nothing of a log may end a run
            self.lost += 1

    def close(self) -> None:
        """What is waiting is written, unless that takes longer than two seconds. May be called twice."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=_CLOSE_S)
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            if self.failed is None:
                try:
                    self._append(line)
                except OSError as error:
                    self.failed = error
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def _append(self, line: bytes) -> None:
        if self._rotates and os.fstat(self._fd).st_size + len(line) > self._max_bytes:
            self._rotate()
        while line:
            line = line[os.write(self._fd, line) :]

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                _numbered(self._path, number - 1).replace(_numbered(self._path, number))
        fresh = _opened(self._path)
        os.close(self._fd)
        self._fd = fresh

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(path: Path) -> int:
    """Opening waits for nobody: a pipe without a reader is an error."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags, 0o644)
    os.set_blocking(descriptor, True)
    return descriptor


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def event_files(path: str | Path) -> list[Path]:
    """The files of a log, oldest first: ``path.2``, ``path.1``, ``path``."""
    path = Path(path)
    found: list[Path] = []
    while (older := _numbered(path, len(found) + 1)).exists():
        found.append(older)
    return [*reversed(found), path]


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


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
