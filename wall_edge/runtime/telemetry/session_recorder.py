"""Recording beside the action loop: the disk may stall or fill up, the loop never waits for it."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wall_edge.errors import WallEdgeError, plural
from wall_edge.session_format import Sample, SessionWriter

_NICE = 10
_JOIN_S = 1.0


@dataclass(frozen=True)
class RecordingOptions:
    """Where the daemon records: at most one sample a ``period_s``, and ``max_samples`` in all."""

    folder: Path
    period_s: float = 0.5
    max_samples: int = 1000


class SessionRecorder:
    """Writes the samples that it is offered, in a thread of its own.

    ``report`` is called once, from that thread, when recording had to stop.
    """

    def __init__(
        self, writer: SessionWriter, options: RecordingOptions, report: Callable[[str], None]
    ) -> None:
        self._writer, self._report = writer, report
        self._period_ns, self._remaining = round(options.period_s * 1e9), options.max_samples
        self._due_ns: int | None = None
        self._waiting: queue.Queue[Sample | None] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def offer(self, sample: Sample) -> bool:
        """Take a sample if one is due and the disk is not busy with an earlier one; whether it was taken.

        The sample's arrays must not change any more.
        """
        observation_ns = sample.observation.time_ns
        due = self._due_ns is None or observation_ns >= self._due_ns
        if not due or self._remaining <= 0 or not self._thread.is_alive():
            return False
        try:
            self._waiting.put_nowait(sample)
        except queue.Full:
            return False
        self._remaining -= 1
        self._due_ns = observation_ns + self._period_ns
        return True

    def close(self) -> None:
        """Finish what was taken; a disk that hangs is left alone after two seconds."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=_JOIN_S)
            self._thread.join(timeout=_JOIN_S)

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            while (sample := self._waiting.get()) is not None:
                self._writer.add(sample.observation, sample.words, sample.actions, epoch=sample.epoch)
        except Exception as error:  # noqa: BLE001 - no trouble with a recording may take the arm down
            what = str(error) if isinstance(error, WallEdgeError) else f"bug: {error!r}"
            with contextlib.suppress(OSError):  # the supervisor may be gone
                self._report(f"recording stopped after {plural(self._writer.count, 'sample')}: {what}")
