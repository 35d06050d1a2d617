"""What a writer of the log leaves to its successor, in shared memory: how far it got."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.summary import checkpoint_dtype
from wall_edge.runtime.telemetry.writer.log_file import LogFile, Position

SERVO_STREAMS = ("servo", "servo/status", "servo/result")
"""``source`` of what the servo process tells: events, statuses, and summaries, numbered by process."""


class WriterMemory:
    """Make one for all writers of one log, and give it to each of them (``names``: the event rings').

    The file itself is the truth about what is written; this says where in it to begin to look. Each part has
    one writer at a time, and is a mailbox, whole whenever its writer is killed.
    """

    def __init__(self, servo: ServoRings, names: Sequence[str]) -> None:
        self.sources = (*SERVO_STREAMS, *names)
        streams = len(self.sources)
        self.progress = Mailbox(
            [
                *((name, np.int64) for name in ("device", "inode", "offset", "last_ns")),
                ("sequence", np.int64, (streams,)),
                ("time_ns", np.int64, (streams,)),
            ]
        )
        self.summary = Mailbox(checkpoint_dtype(servo), slots=2)


@dataclass
class Progress:
    """By stream: number and time of the last line in the file; and the time of the last line of all."""

    sequence: list[int]
    time_ns: list[int]
    last_ns: int = 0

    def keep(self, memory: WriterMemory, position: Position) -> None:
        """For a successor; ``position`` is the file's end."""
        row = np.zeros(1, memory.progress.dtype)
        row["device"], row["inode"], row["offset"] = position.device, position.inode, position.offset
        row["sequence"], row["time_ns"], row["last_ns"] = self.sequence, self.time_ns, self.last_ns
        memory.progress.write(row[0])

    @classmethod
    def resume(cls, memory: WriterMemory, file: LogFile) -> Progress:
        """Of a predecessor, from what it kept and what it wrote after that; mends the file's last line."""
        record = memory.progress.read()
        if record is None:
            file.mend(None)
            return cls([0] * len(memory.sources), [0] * len(memory.sources))
        since = Position(*(int(record[name]) for name in ("device", "inode", "offset")))
        file.mend(since)
        progress = cls(record["sequence"].tolist(), record["time_ns"].tolist(), int(record["last_ns"]))
        for line in file.lines_since(since):
            progress._note(line, memory.sources)
        return progress

    def _note(self, line: bytes, sources: Sequence[str]) -> None:
        try:
            event = json.loads(line)
            stream, sequence, time_ns = sources.index(event["source"]), event["seq"], event["time_ns"]
        except (ValueError, KeyError, TypeError):  # not of ours
            return
        self.sequence[stream] = max(self.sequence[stream], sequence)
        self.time_ns[stream] = event.get("stamped_ns", time_ns)
        self.last_ns = max(self.last_ns, time_ns)
