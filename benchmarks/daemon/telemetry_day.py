"""A day of telemetry, replayed as fast as it goes: is memory flat, is the log bounded, is anything lost?

Statuses at 250 Hz, chunks at 10 Hz with what the servo process and the supervisor say of each, a subgoal a
second: all of it through the rings into the writer of the log, and into a second reader's summary, as the
supervisor keeps one. Time is that of the records; the writer holds back as in the daemon.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.provenance import provenance
from wall_edge.runtime.telemetry.event_log import event_files
from wall_edge.runtime.telemetry.ring.events import EventRing
from wall_edge.runtime.telemetry.servo.rings import BUS_COUNTERS, LIMITS, REFUSALS, ServoRings
from wall_edge.runtime.telemetry.servo.summary import ServoSummary
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import EventKind
from wall_edge.runtime.telemetry.writer import LogWriter, WriterMemory

DOF, RATE, CHUNKS, SECOND_NS = 6, 250, 10, 1_000_000_000
_ALLOWED_BYTES = 2_000_000
_WAITING = 2000


class Day:
    """A servo process, a supervisor, the log's writer and a reader, in one process and on one clock."""

    def __init__(self, path: Path) -> None:
        self.rings, self.supervisor = ServoRings.of(DOF, RATE), EventRing()
        memory = WriterMemory(self.rings, ["supervisor"])
        self.writer = LogWriter(self.rings, {"supervisor": self.supervisor}, path, memory)
        self.now_ns, self.tick, self.chunk = time.monotonic_ns(), 0, 0
        self.voice = ServoTelemetry(self.rings, SECOND_NS // RATE, clock=lambda: self.now_ns)
        self.reader, self.summary = self.rings.reader(), ServoSummary(self.rings)
        self._random = np.random.default_rng(0)
        self._counters: dict[str, Any] = {"refused": [0] * len(REFUSALS), "limits": [[0] * DOF] * len(LIMITS)}

    def second(self) -> None:
        """All that is told in a second, and read."""
        late = self._random.exponential(80_000, RATE).astype(int).tolist()
        angles = self._random.normal(size=(2, DOF))
        for number in range(RATE):
            chunk = number % (RATE // CHUNKS) == 0
            if chunk:
                self._chunk()
            self._tick(late[number], chunk, angles)
        self.supervisor.write("subgoalrecord", time_ns=self.now_ns, epoch=1, text=f"touch block {self.tick}.")
        self.writer.step(self.now_ns)
        self.summary.follow(self.reader)
        while self.writer.queue.waiting > _WAITING:  # a disk is not as fast as a replay
            time.sleep(0.001)

    def _chunk(self) -> None:
        self.chunk += 1
        words = {"subgoal": "touch block 7.", "scheduler": "async", "observation": self.chunk}
        self.supervisor.write("chunkrecord", time_ns=self.now_ns, index=self.chunk, epoch=1, **words)
        self.voice.event(EventKind.CHUNK_REFUSED, epoch=1, chunk_index=self.chunk, name="age")

    def _tick(self, late_ns: int, chunk: bool, angles: Any) -> None:
        self.now_ns += SECOND_NS // RATE
        self.tick += 1
        self.voice.status(
            time_ns=self.now_ns + late_ns,
            deadline_ns=self.now_ns,
            lateness_ns=late_ns,
            tick=self.tick,
            state=2,
            epoch=1,
            setpoint=angles[0],
            position=angles[1],
            chunk_index=self.chunk,
            served_ticks=self.tick,
            first_tick_ns=1,
            last_tick_ns=self.now_ns,
            pickup_ns=late_ns if chunk else -1,
            chunks_taken=self.chunk,
        )
        if self.now_ns >= self.voice.counters_due_ns:
            bus = [self.tick] * len(BUS_COUNTERS)
            self.voice.counters(time_ns=self.now_ns, bus=bus, **self._counters)


def resident() -> int:
    """Bytes of memory now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(hours: float, path: Path) -> dict[str, Any]:
    """Memory at 1 %, at half time and at the end; the log; what was lost."""
    seconds = max(100, round(hours * 3600))
    marks = {seconds // 100: "resident_1_percent", seconds // 2: "resident_50_percent"}
    day, result, begun = Day(path), {}, time.monotonic()
    for second in range(1, seconds + 1):
        day.second()
        if second in marks:
            result[marks[second]] = resident()
    result["resident_end"] = resident()
    day.voice.end()
    end = day.writer.finish()
    day.summary.follow(day.reader)
    files = event_files(path)
    grew = result["resident_end"] - result["resident_1_percent"]
    return {
        **result,
        "resident_grew": grew,
        "flat_within_2_mb": grew <= _ALLOWED_BYTES,
        "statuses": day.tick,
        "chunks": day.chunk,
        "log_files": len(files),
        "log_bytes": sum(file.stat().st_size for file in files),
        "log_lines": day.writer.queue.stored,
        "lines_lost": end.lost,
        "records_lost": day.summary.lost + day.writer.servo.summary.lost,
        "counted_by_readers": day.summary.as_dict()["ticks"],
        "seconds": round(time.monotonic() - begun),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.hours, Path(folder) / "events.jsonl") | provenance()
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
