"""The supervisor's memory over a day: ``python benchmarks/daemon/supervisor_memory.py [--chunks 1000000]``.

A process sends the messages of a policy that makes chunks, as fast as they are taken: a chunk, now and then
new words or a refusal. They go through the supervisor's own way of receiving, with its record and an event
log that rotates. Resident memory and what Python has allocated, after the first 10,000 chunks and at the end;
asked: flat within 1 MB.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.daemon.emergency_stop import ROBOT, require_bundle
from wall_edge.cli.robot.run import KEPT, status_line
from wall_edge.config import load_robot
from wall_edge.provenance import provenance
from wall_edge.runtime.daemon.daemon import Daemon
from wall_edge.runtime.daemon.process_table import TABLE
from wall_edge.runtime.ipc.messages import Refusal, Stop
from wall_edge.runtime.ipc.reporting import reporting
from wall_edge.runtime.telemetry.event_log import event_files
from wall_edge.runtime.telemetry.run_log import ChunkRecord, SubgoalRecord
from wall_edge.sim.worlds import open_world

_ALLOWED_BYTES = 1_000_000
_CHUNK_NS = 100_000_000


def feed(conn: Connection, chunks: int) -> None:
    """The policy process's messages; ends on Stop."""
    with reporting(conn):
        for index in range(1, chunks + 1):
            now, words = index * _CHUNK_NS, f"touch block {index // 10}."
            if index % 10 == 0:
                conn.send(SubgoalRecord(index // 10, 1, now, now, words, True, index))
            if index % 100 == 0:
                conn.send(Refusal("subgoal", f"the subgoal {words!r} did not end"))
            conn.send(ChunkRecord(index, 1, now, now + 1, index // 10, words, index, "async"))
        while not isinstance(conn.recv(), Stop):
            pass


def memory(daemon: Daemon) -> dict[str, int]:
    """Bytes now, with how many chunks there have been."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident = pages * resource.getpagesize()
    return {
        "chunks": daemon.record.counts["chunks"],
        "resident": resident,
        "allocated": tracemalloc.get_traced_memory()[0],
    }


def measure(bundle: Path, marks: Sequence[int], events: Path) -> list[dict[str, int]]:
    """Memory after so many chunks each."""
    config = replace(load_robot(ROBOT), bundle=bundle)
    daemon = Daemon(config, world=open_world(config), events=events, kept=KEPT)
    found = []
    try:
        for row in TABLE:
            if row.name == "writer":
                daemon._supervisor.start(row, "writer")
            if row.name == "policy":
                policy = replace(row, body=lambda _: feed, arguments=lambda *_: (max(marks),))
                daemon._supervisor.start(policy, "policy")
        for mark in marks:
            while daemon.record.counts["chunks"] < mark:
                daemon._receive()
                status_line(daemon)
            found.append(memory(daemon))
    finally:
        daemon.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--bundle", type=Path, default=Path("runs/tabletop-bundle"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bundle = require_bundle(given.bundle)
    with tempfile.TemporaryDirectory() as folder:
        tracemalloc.start()
        begun = time.monotonic()
        first, last = measure(bundle, (10_000, given.chunks), Path(folder) / "events.jsonl")
        seconds = time.monotonic() - begun
        files = event_files(Path(folder) / "events.jsonl")
        log = {"log_files": len(files), "log_bytes": sum(path.stat().st_size for path in files)}
    result = {
        "after_10000": first,
        "at_the_end": last,
        "resident_grew": last["resident"] - first["resident"],
        "allocated_grew": last["allocated"] - first["allocated"],
        "flat_within_1_mb": max(last[k] - first[k] for k in ("resident", "allocated")) <= _ALLOWED_BYTES,
        **log,
        "seconds": round(seconds),
        **provenance(),
    }
    if given.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
