"""The process that writes the event log."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from wall_edge.runtime.ipc.messages import Ready, Stop
from wall_edge.runtime.ipc.reporting import reporting
from wall_edge.runtime.telemetry.ring.events import EventRing
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.writer.event_stream import EventStream
from wall_edge.runtime.telemetry.writer.log_file import FILES, MAX_BYTES, LogFile
from wall_edge.runtime.telemetry.writer.log_queue import LogQueue
from wall_edge.runtime.telemetry.writer.progress import Progress, WriterMemory
from wall_edge.runtime.telemetry.writer.servo_stream import ServoStream
from wall_edge.runtime.telemetry.writer.time_order import TimeOrder

HOLD_NS = 50_000_000
"""How long an event waits for earlier ones of other processes."""
_POLL_S = 0.1
"""The rings hold seconds; a writer that looks more often takes the cores from those that move the arm."""
_NICE = 10
_GRACE_S = 1.0
"""For processes that the supervisor started right before it died."""


@dataclass(frozen=True)
class LogEnd:
    """From the writer, last."""

    lost: int
    """Lines that found no room on the disk."""
    trouble: str
    """Why it refused the last of them; empty for it did not."""
    late: int = 0
    """Lines that were written later than one stamped after them, at that one's time."""


class LogWriter:
    """From rings to the file, a step at a time; goes on where a predecessor with this ``memory`` stopped.

    Raises ConfigError when the file does not open.
    """

    def __init__(
        self,
        servo: ServoRings,
        sources: Mapping[str, EventRing],
        path: str | Path,
        memory: WriterMemory,
        max_bytes: int = MAX_BYTES,
        files: int = FILES,
    ) -> None:
        file = LogFile(path, max_bytes, files)
        progress = Progress.resume(memory, file)
        self.order = TimeOrder(progress.last_ns)
        self.servo = ServoStream(servo, progress, memory)
        self._streams: list[ServoStream | EventStream] = [self.servo]
        for name, ring in sources.items():
            stream = memory.sources.index(name)
            self._streams.append(EventStream(stream, ring, progress.sequence[stream]))
        self.queue = LogQueue(file, progress, memory)

    def step(self, now_ns: int) -> None:
        """Takes what the rings hold, and passes on what is ``HOLD_NS`` older than ``now_ns``."""
        for stream in self._streams:
            for line in stream.lines():
                self.order.add(line)
        self._pass_on(now_ns - HOLD_NS)

    def finish(self) -> LogEnd:
        """Writes all there is, with the servo process's summary."""
        self.step(0)
        for line in self.servo.last_words():
            self.order.add(line)
        self._pass_on(None)
        lost, failed = self.queue.close(), self.queue.failed
        trouble = str(failed.strerror or failed) if failed is not None else ""
        return LogEnd(lost, trouble, self.order.late)

    def _pass_on(self, until_ns: int | None) -> None:
        for time_ns, line in self.order.due(until_ns):
            self.queue.put(time_ns, line)

    @property
    def idle(self) -> bool:
        """Whether nobody writes into any ring."""
        return all(stream.idle for stream in self._streams)


def run_writer(
    conn: Connection,
    servo: ServoRings,
    sources: Mapping[str, EventRing],
    path: str | Path,
    memory: WriterMemory,
    max_bytes: int = MAX_BYTES,
    files: int = FILES,
) -> None:
    """The body of the writer process; ends on Stop, or without a supervisor when nobody writes any more.

    ``memory`` knows the names of ``sources``. Says Ready when the file is open, and :class:`LogEnd` at
    last.
    """
    os.nice(_NICE)
    with reporting(conn):
        writer = LogWriter(servo, sources, path, memory, max_bytes, files)
        conn.send(Ready())
        _until_told(conn, writer)
        end = writer.finish()
        with contextlib.suppress(OSError):  # the supervisor may be gone
            conn.send(end)


def _until_told(conn: Connection, writer: LogWriter) -> None:
    try:
        while True:
            writer.step(time.monotonic_ns())
            if conn.poll(_POLL_S) and isinstance(conn.recv(), Stop):
                return
    except (EOFError, ConnectionError):
        _until_idle(writer)


def _until_idle(writer: LogWriter) -> None:
    """The supervisor is gone: the others may still have something to say, the servo process above all."""
    idle_s = 0.0
    while idle_s < _GRACE_S:
        idle_s = idle_s + _POLL_S if writer.idle else 0.0
        writer.step(time.monotonic_ns())
        time.sleep(_POLL_S)
