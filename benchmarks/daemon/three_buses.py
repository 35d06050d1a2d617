"""What a tick costs with 20 joints on three buses at 500 Hz: the servo loop on simulated lines, in real time.

The motors are twins in a process of their own, behind ports and hubs; with ``--timed`` their bytes and frames
also take the time that they take on the line. Prints JSON: the tick's time from its begin until it is told
(p5, p50, p99, and the median as part of the period), its processor time, starved ticks, overruns, bus errors.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.kinds.registry import kind_named
from wall_edge_bridge.sim.stations import serve, station_for

from wall_edge.bench.rig import FEED_S
from wall_edge.config import RobotConfig, robot_from_mapping
from wall_edge.provenance import provenance
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import (
    Chunk,
    ServoCommand,
    ServoState,
    chunk_dtype,
    command_dtype,
    feedback_dtype,
)
from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.drives import open_drives
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry

DOF, RATE_HZ, HORIZON, STEP_NS = 20, 500.0, 50, 20_000_000
_SETTLE_S = 2.0


def robot(words: list[str]) -> RobotConfig:
    """20 joints in turn on drives of these kinds; ``damiao+fd``: with 5 Mbit/s of data."""
    drives: dict[str, dict[str, Any]] = {}
    for number, word in enumerate(words):
        kind, _, fd = word.partition("+")
        drives[f"bus{number}"] = {
            "kind": kind,
            "timeout_ms": 4,
            **({"data_bitrate": 5_000_000} if fd else {}),
        }
    counts = [len(part) for part in np.array_split(np.arange(DOF), len(words))]
    joints = [
        {"name": f"{name}_{n}", "drive": name, "id": n, "lower": -1.5, "upper": 1.5, "max_velocity": 3.0}
        for name, count in zip(drives, counts, strict=True)
        for n in range(1, count + 1)
    ]
    data = {
        "name": "three buses",
        "bundle": "none",
        "control": {"rate_hz": RATE_HZ, "rest": [0.0] * DOF},
        "simulated": True,
        "simulation": {"world": "tabletop", "seed": 0},
        "drives": drives,
        "joints": joints,
        "cameras": {},
    }
    return robot_from_mapping(data, "three buses")


def run_motors(conn: Connection, config: RobotConfig, timed: bool) -> None:
    """The body of the motors' process: their places, then answers until the parent says a word, or ends."""
    realtime.apply(70, None, lock_memory=False)
    twins = [
        kind_named(s.kind).make_twin(
            s, config.joints_of(name), [0.0] * len(config.joints_of(name)), timed=timed
        )
        for name, s in config.drives.items()
    ]
    stations = [station_for(twin) for twin in twins]
    conn.send({name: station.place for name, station in zip(config.drives, stations, strict=True)})
    stop = threading.Event()

    def watch() -> None:
        conn.poll(None)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    serve(stations, stop)


class Feeder:
    """Supervisor and policy: a heartbeat and a chunk ten times a second."""

    def __init__(self) -> None:
        self.chunks, self.command = Mailbox(chunk_dtype(HORIZON, DOF)), Mailbox(command_dtype())
        self.feedback = Mailbox(feedback_dtype(DOF))
        self._index, self.ended = 0, threading.Event()
        self._feed()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.ended.wait(FEED_S):
            self._feed()

    def _feed(self) -> None:
        now = time.monotonic_ns()
        command, chunk = np.zeros(1, command_dtype())[0], np.zeros(1, self.chunks.dtype)[0]
        command["command"], command["epoch"], command["heartbeat_ns"] = ServoCommand.FOLLOW, 1, now
        self.command.write(command)
        feedback = self.feedback.read()
        plan_ns = 0 if feedback is None else int(feedback["plan_ns"])
        self._index += 1
        due = (plan_ns + STEP_NS * np.arange(HORIZON)) / 1e9
        swing = 0.4 * np.sin(np.pi * due[:, None]) * np.linspace(0.5, 1.0, DOF)
        Chunk(self._index, now, STEP_NS, 1, swing, plan_ns, now).fill(chunk)
        self.chunks.write(chunk)


def measure(words: list[str], seconds: float, timed: bool) -> dict[str, Any]:
    """One run, this process being the servo process."""
    config = robot(words)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    motors = context.Process(target=run_motors, args=(theirs, config, timed), daemon=True)
    motors.start()
    places = ours.recv()
    feeder = Feeder()
    kinds = {name: settings.kind for name, settings in config.drives.items()}
    rings = ServoRings.of(DOF, RATE_HZ, seconds=seconds + 2 * _SETTLE_S, kinds=kinds)
    refused = realtime.apply(80, None, lock_memory=False).refused
    loop = ServoLoop(
        config,
        lambda: open_drives(config, places),
        feeder.chunks,
        feeder.command,
        feeder.feedback,
        telemetry=ServoTelemetry(rings, round(1e9 / RATE_HZ)),
    )
    try:
        loop.start()
        feeder.thread.start()
        cpu_ns = _run(loop, seconds)
        state, fault = loop.state, loop.machine.fault
        counters = vars(loop.joints.drive.counters) if loop.joints.drive is not None else {}
        rows = _all(rings)
    finally:
        feeder.ended.set()
        loop.finish()
        ours.send("end")
        motors.join()
    ticks = rows[rows["lateness_ns"] >= 0][round(_SETTLE_S * RATE_HZ) :]
    work_us = ticks["work_ns"] / 1e3
    return {
        "kinds": words,
        "timed_lines": timed,
        "state": ServoState(state).name,
        "fault": fault,
        "ticks": len(ticks),
        "tick_us": {f"p{p}": float(np.percentile(work_us, p)) for p in (5, 50, 99)} if len(ticks) else {},
        "part_of_period_p50": float(np.median(work_us)) * RATE_HZ / 1e6 if len(ticks) else None,
        "processor_us": cpu_ns / 1e3,
        "starved": loop.pilot.starved_ticks,
        "overruns": int(ticks["overruns"][-1] - ticks["overruns"][0]) if len(ticks) else None,
        "bus": {name: count for name, count in counters.items() if count},
        "refused": [setting.name for setting in refused],
        **provenance(),
    }


def _all(rings: ServoRings) -> npt.NDArray[Any]:
    reader, parts = rings.reader(), []
    while len(rows := reader.status.take()):
        parts.append(rows)
    return np.concatenate(parts)


def _run(loop: ServoLoop, seconds: float) -> float:
    """Processor time of a tick [ns], at the mean."""
    end, begun, ticks = time.monotonic() + _SETTLE_S + seconds, time.thread_time_ns(), 0
    while time.monotonic() < end and loop.advance():
        ticks += 1
    return (time.thread_time_ns() - begun) / max(1, ticks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", default=["damiao", "damiao", "feetech"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--timed", action="store_true")
    given = parser.parse_args()
    print(json.dumps(measure(given.kinds, given.seconds, given.timed), indent=1))


if __name__ == "__main__":
    main()
