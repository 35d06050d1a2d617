"""What telemetry costs a tick of the servo loop, and whether ticks begin later for it.

One process ticks on absolute deadlines, as the servo process does (same Ticker, same limiter on six joints,
same settings of the kernel and of the garbage collector). In every other half second it tells a status each
tick, counters each second and three events a second; in between nothing. So both sides meet
the same machine in the same minute. The writer of the log runs beside it and reads, as it always does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.config import Bounds
from wall_edge.provenance import provenance
from wall_edge.runtime.ipc.messages import Stop
from wall_edge.runtime.motion.limits import Limiter
from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.timing import Ticker
from wall_edge.runtime.telemetry.servo.rings import BUS_COUNTERS, REFUSALS, ServoRings
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import EventKind
from wall_edge.runtime.telemetry.writer import WriterMemory, run_writer

DOF, BLOCK_S, EVENTS_HZ, WARM_UP = 6, 0.5, 3, 2
LIMIT_US = 20.0


@dataclass
class Times:
    """Nanoseconds: cost of a status, of an event, of all that a tick tells; how late ticks began."""

    status: list[int] = field(default_factory=list)
    event: list[int] = field(default_factory=list)
    both: list[int] = field(default_factory=list)
    late_with: list[int] = field(default_factory=list)
    late_without: list[int] = field(default_factory=list)


class Loop:
    """The servo process's tick, less the bus."""

    def __init__(self, rings: ServoRings, rate_hz: float) -> None:
        self.ticker = Ticker(round(1e9 / rate_hz))
        self.voice = ServoTelemetry(rings, self.ticker.period_ns)
        bounds = Bounds(lower=-2.0, upper=2.0, velocity=2.0, acceleration=10.0, jerk=200.0)
        self.limiter = Limiter([bounds] * DOF, 1.0 / rate_hz)
        self.limiter.reset(np.zeros(DOF))
        self.refused, self.bus = dict.fromkeys(REFUSALS, 0), dict.fromkeys(BUS_COUNTERS, 0)
        self._reference = np.zeros((3, DOF))
        self.event_ticks = max(1, round(rate_hz / EVENTS_HZ))

    def work(self) -> None:
        """A slow wave in all joints, through the limiter."""
        self._reference[0] = 0.5 * np.sin(self.ticker.ticks / 500.0)
        self.limiter.follow(self._reference, self._reference)

    def tell_status(self, began_ns: int) -> None:
        """With every value that the loop has, and the counters when they are due."""
        ticker = self.ticker
        self.voice.status(
            time_ns=began_ns,
            deadline_ns=ticker.deadline_ns,
            lateness_ns=max(0, began_ns - ticker.deadline_ns),
            tick=ticker.ticks,
            state=2,
            epoch=1,
            setpoint=self.limiter.position,
            position=self.limiter.position,
            chunk_index=7,
            chunk_observation_ns=began_ns,
            served_ticks=ticker.ticks,
            first_tick_ns=began_ns,
            last_tick_ns=began_ns,
            touched=True,
            overruns=ticker.overruns,
            skipped=ticker.skipped,
        )
        if began_ns >= self.voice.counters_due_ns:
            self.voice.counters(
                time_ns=began_ns,
                refused=self.refused.values(),
                bus=self.bus.values(),
                limits=self.limiter.hits.values(),
            )

    def tell_event(self) -> None:
        """A chunk that was refused."""
        self.voice.event(EventKind.CHUNK_REFUSED, epoch=1, chunk_index=self.ticker.ticks, name="age")


def measure(rings: ServoRings, rate_hz: float, seconds: float, fifo: int | None) -> dict[str, Any]:
    """Alternating blocks with and without telemetry, for so long."""
    report = realtime.apply(fifo, None, True, 0)
    loop, times = Loop(rings, rate_hz), Times()
    block_ticks = max(1, round(BLOCK_S * rate_hz))
    for block in range(max(2 * WARM_UP, round(seconds / BLOCK_S)) + WARM_UP):
        for _ in range(block_ticks):
            _tick(loop, times if block >= WARM_UP else Times(), telling=block % 2 == 0)
    loop.voice.end()
    return {
        "status_us": _percentiles(times.status),
        "event_us": _percentiles(times.event),
        "telemetry_in_a_tick_us": _percentiles(times.both),
        "lateness_with_us": _percentiles(times.late_with),
        "lateness_without_us": _percentiles(times.late_without),
        "ticks": len(times.late_with) + len(times.late_without),
        "refused_by_the_kernel": [setting.detail for setting in report.refused],
    }


def _tick(loop: Loop, times: Times, telling: bool) -> None:
    began = loop.ticker.wait()
    (times.late_with if telling else times.late_without).append(max(0, began - loop.ticker.deadline_ns))
    loop.work()
    if not telling:
        return
    start = time.monotonic_ns()
    loop.tell_status(began)
    told = time.monotonic_ns()
    times.status.append(told - start)
    end = told
    if loop.ticker.ticks % loop.event_ticks == 0:
        loop.tell_event()
        end = time.monotonic_ns()
        times.event.append(end - told)
    times.both.append(end - start)


def _percentiles(values_ns: list[int]) -> dict[str, float]:
    ranks = (50, 99, 99.9)
    values = np.percentile(np.array(values_ns) / 1e3, ranks).round(1).tolist()
    return {f"p{rank:g}".replace(".", ""): value for rank, value in zip(ranks, values, strict=True)}


def _child(conn: Connection, body: Callable[..., dict[str, Any]], *arguments: Any) -> None:
    conn.send(body(*arguments))


def run(rate_hz: float, seconds: float, fifo: int | None) -> dict[str, Any]:
    """The loop in a process of its own, with the log's writer beside it."""
    context = multiprocessing.get_context("spawn")
    rings = ServoRings.of(DOF, rate_hz)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        to_writer, writers = context.Pipe()
        writer = context.Process(target=run_writer, args=(writers, rings, {}, path, WriterMemory(rings, ())))
        writer.start()
        to_writer.recv()
        ours, theirs = context.Pipe()
        loop = context.Process(target=_child, args=(theirs, measure, rings, rate_hz, seconds, fifo))
        loop.start()
        theirs.close()
        result: dict[str, Any] = ours.recv()
        to_writer.send(Stop())
        result["lines_lost"] = to_writer.recv().lost
        for process in (loop, writer):
            process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=500.0, help="Hz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fifo", type=int, help="ask for SCHED_FIFO at this priority")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = round(os.getloadavg()[0], 2)
    result = run(options.rate, options.seconds, options.fifo)
    met = result["telemetry_in_a_tick_us"]["p99"] <= LIMIT_US
    result = {"rate_hz": options.rate, **result, f"p99_within_{LIMIT_US:g}_us": met, "load_before": load}
    result |= provenance()
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
