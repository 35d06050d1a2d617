"""Lines on their way to the disk, in a thread of their own: a disk that hangs costs events, never time."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from dataclasses import dataclass

from wall_edge.runtime.telemetry.writer.line import Line, rendered
from wall_edge.runtime.telemetry.writer.log_file import LogFile
from wall_edge.runtime.telemetry.writer.progress import Progress, WriterMemory

_WAITING, _BLOCK_BYTES = 8000, 64 << 10
_CLOSE_S, _RETRY_S = 2.0, 0.5


@dataclass(frozen=True)
class _Entry:
    time_ns: int
    line: Line
    text: bytes


class LogQueue:
    """Takes lines in order and never waits. What finds no room, in the queue or on the disk, is counted.

    A disk that was full is tried again and again, and the first line that it takes says what was lost.
    """

    def __init__(self, file: LogFile, progress: Progress, memory: WriterMemory) -> None:
        self.failed: OSError | None = None
        """Why the disk took a line last that it did not take."""
        self._file, self._progress, self._memory = file, progress, memory
        self.stored = 0
        """Lines that the disk took."""
        self._overflow = self._refused = self._noted = self._put = 0
        self._entries: queue.Queue[_Entry | None] = queue.Queue(_WAITING)
        self._ended = False
        progress.keep(memory, file.position)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, time_ns: int, line: Line) -> None:
        """A line, to be told at ``time_ns``."""
        text = rendered(line, self._memory.sources[line.stream], time_ns)
        self._put += 1
        try:
            self._entries.put_nowait(_Entry(time_ns, line, text))
        except queue.Full:
            self._overflow += 1

    @property
    def waiting(self) -> int:
        """Lines neither written nor lost yet."""
        return self._put - self._overflow - self._refused - self.stored

    @property
    def lost(self) -> int:
        """Lines that found no room."""
        return self._overflow + self._refused

    def close(self) -> int:
        """Writes what waits, unless that takes longer than some seconds; how many lines were lost in all."""
        with contextlib.suppress(queue.Full):
            self._entries.put(None, timeout=_CLOSE_S)
        self._thread.join(_CLOSE_S)
        return self.lost + self.waiting

    # --- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while block := self._block():
            self._store(block)
        self._file.close()

    def _block(self) -> list[_Entry]:
        """What waits, up to about a block's size; waits for the first. Empty at the end."""
        block: list[_Entry] = []
        size, limit = 0, min(_BLOCK_BYTES, self._file.max_bytes // 2)
        while size < limit and not self._ended:
            try:
                entry = self._entries.get(block=not block)
            except queue.Empty:
                break
            if entry is None:
                self._ended = True
            else:
                block.append(entry)
                size += len(entry.text)
        return block

    def _store(self, block: list[_Entry]) -> None:
        lost = self.lost - self._noted
        note = self._note(block[0].time_ns, lost) if lost else b""
        try:
            self._file.append(note + b"".join(entry.text for entry in block))
        except OSError as error:
            self.failed = error
            self._refused += len(block)
            time.sleep(_RETRY_S)
            return
        self._noted += lost
        self.stored += len(block)
        self._keep(block)

    def _note(self, time_ns: int, count: int) -> bytes:
        why = f"the disk: {self.failed.strerror or self.failed}" if self.failed else "the disk was too slow"
        event = {"time_ns": time_ns, "kind": "lost", "source": "log", "count": count, "why": why}
        return json.dumps(event).encode() + b"\n"

    def _keep(self, block: list[_Entry]) -> None:
        for entry in block:
            self._progress.sequence[entry.line.stream] = entry.line.sequence
            self._progress.time_ns[entry.line.stream] = entry.line.time_ns
        self._progress.last_ns = block[-1].time_ns
        self._progress.keep(self._memory, self._file.position)
