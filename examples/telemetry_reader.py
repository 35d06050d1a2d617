"""A reader of a running arm's telemetry: a line a second about what it does, and one for each event.

Run it as a process of the daemon: a row of ``wall_edge/runtime/daemon/process_table.py`` with this body.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from wall_edge.runtime.ipc.messages import Ready
from wall_edge.runtime.ipc.reporting import reporting
from wall_edge.runtime.telemetry.servo.rings import ServoReader, ServoRings
from wall_edge.runtime.telemetry.servo.types import ServoStatus

POLL_S, LINE_NS = 0.05, 1_000_000_000


def run_console(conn: Connection, rings: ServoRings, show: Callable[[str], None] = print) -> None:
    """Until the servo process has ended or died, or the other end of ``conn`` says something or is gone."""
    with reporting(conn):  # signals are for others; an error reaches the supervisor as a line
        conn.send(Ready())
        reader, last_ns = rings.newcomer(), 0
        while True:
            over = rings.status.over  # asked before reading: what is there afterwards is all there will be
            last_ns = console_step(reader, last_ns, show)
            if over or conn.poll(POLL_S):
                return


def console_step(reader: ServoReader, last_ns: int, show: Callable[[str], None]) -> int:
    """What is new, event by event and at most a status a second; the time of the last status shown."""
    for event in reader.events():
        words = (f"{event.time_ns / 1e9:.3f}", event.kind.name.lower(), event.name, event.text)
        show(" ".join(filter(None, words)))
    for status in reader.statuses():
        if status.time_ns - last_ns >= LINE_NS:
            last_ns = status.time_ns
            show(status_line(status, reader.lost))
    return last_ns


def status_line(status: ServoStatus, lost: int) -> str:
    """One tick in words; ``lost``: what this reader was too slow for."""
    age_ms = (time.monotonic_ns() - status.time_ns) / 1e6
    angles = " ".join(f"{angle:+.2f}" for angle in status.position)
    return (
        f"{status.time_ns / 1e9:.3f} tick {status.tick}, {age_ms:.0f} ms ago, "
        f"{status.lateness_ns / 1e3:.0f} µs late; joints {angles} rad; "
        f"{status.bus_errors} bus errors, {lost} lost"
    )
