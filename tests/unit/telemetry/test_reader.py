"""The page about writing a reader shows a reader that works: this runs it."""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import EventKind

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "telemetry_reader.py"
sys.path.insert(0, str(EXAMPLE.parent))

from telemetry_reader import run_console  # noqa: E402

DOF, PERIOD_NS = 2, 4_000_000


def tell(voice: ServoTelemetry, tick: int, time_ns: int) -> None:
    voice.status(
        time_ns=time_ns,
        tick=tick,
        state=1,
        epoch=1,
        lateness_ns=62_000,
        setpoint=np.zeros(DOF),
        position=np.array([0.5, -0.25]),
    )


def collect(conn: Any, rings: ServoRings, lines: Any) -> None:
    run_console(conn, rings, lines.put)


def test_the_page_shows_the_example() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "telemetry.md").read_text(), re.DOTALL)
    assert block == EXAMPLE.read_text()


def test_the_example_reads_a_servo_process_to_its_end() -> None:
    """In a process of its own, while this one plays the servo process: three seconds in a moment."""
    context = multiprocessing.get_context("spawn")
    rings, lines = ServoRings.of(DOF, 250.0), context.SimpleQueue()
    ours, theirs = context.Pipe()
    voice = ServoTelemetry(rings, PERIOD_NS)
    process = context.Process(target=collect, args=(theirs, rings, lines))
    process.start()
    start, words = time.monotonic_ns(), []
    deadline = time.monotonic() + 60.0
    while not words:  # it joins when it joins: what came before is not its business
        assert time.monotonic() < deadline, "waited a minute"
        voice.event(EventKind.FAULT, text="overload of the elbow")
        time.sleep(0.01)
        words += [] if lines.empty() else [lines.get()]
    for tick in range(1, 751):
        tell(voice, tick, start + tick * PERIOD_NS)
        time.sleep(0.0005)
    voice.end()
    process.join(60)
    assert process.exitcode == 0
    while not lines.empty():
        words.append(lines.get())
    assert words[0].endswith("fault overload of the elbow")
    ticks = [line for line in words if " tick " in line]
    assert len(ticks) == 3
    assert "62 µs late; joints +0.50 -0.25 rad; 0 bus errors, 0 lost" in ticks[0]
    assert words[-1].endswith(" ended")
    ours.close()
