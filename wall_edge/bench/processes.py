"""The processes of :mod:`wall_edge.bench.loop`: the two loops that are measured, and the load."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.drives.group import DriveGroup
from wall_edge_bridge.sim.drive import SimulatedDrive

from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.ipc.messages import Ready
from wall_edge.runtime.ipc.reporting import reporting
from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.runtime.servo.timing import sleep_until
from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder

Load = Literal["none", "inference", "python"]
Window = ctypes.Array[ctypes.c_int64]
"""Shared: when the measurement begins and ends [CLOCK_MONOTONIC ns]; 0 while that is not known."""

_MATRIX = 384


@dataclass(frozen=True)
class LoopResult:
    """Of one loop, within the window."""

    lateness: LatencyRecorder
    ticks: int
    overruns: int = 0
    skipped: int = 0
    drift_ns: int = 0
    fifo: bool = False
    refused: tuple[str, ...] = ()


class RelativeSleep:
    """``work(); sleep(period)``: the loop that most robot code has."""

    def __init__(
        self,
        period_ns: int,
        work: Callable[[int], object],
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._period_ns, self._work, self._clock, self._sleep = period_ns, work, clock, sleep
        self._last_ns = 0
        self.begin()

    def begin(self) -> None:
        """Forgets what was measured."""
        self.lateness, self.ticks, self.drift_ns = LatencyRecorder(), 0, 0

    def advance(self) -> int:
        """One tick, which is late by its interval less the period; returns when it began [ns]."""
        now = self._clock()
        if self._last_ns:
            late = now - self._last_ns - self._period_ns
            self.lateness.record(max(0, late))
            self.drift_ns += late
            self.ticks += 1
        self._last_ns = now
        self._work(now)
        self._sleep(self._period_ns / 1e9)
        return now


class _BenchDrive(SimulatedDrive):
    """Keeps no history: a loop that runs for an hour must not grow."""

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        super().start_cycle(setpoints, deadline_ns)
        self.written.clear()


def bench_drives(config: RobotConfig, clock: Callable[[], int] = time.monotonic_ns) -> DriveGroup:
    """The computed arm, at rest."""
    rest = {joint.name: angle for joint, angle in zip(config.joints, config.control.rest, strict=True)}
    drives = {}
    for name in config.drives:
        joints = config.joints_of(name)
        drives[name] = _BenchDrive(joints, [rest[joint.name] for joint in joints], clock)
    timeouts_ms = {name: settings.timeout_ms for name, settings in config.drives.items()}
    return DriveGroup(config.joints, drives, timeouts_ms, clock)


def servo_loop(
    conn: Connection,
    config: RobotConfig,
    chunks: Mailbox,
    command: Mailbox,
    feedback: Mailbox,
    window: Window,
) -> None:
    """The body of the servo process that is measured: settings and loop as in ``run_servo``."""
    with reporting(conn):
        control = config.control
        report = realtime.apply(
            control.fifo_priority, control.cpu, control.lock_memory, control.wake_latency_us
        )
        loop = ServoLoop(config, lambda: bench_drives(config), chunks, command, feedback)
        ticker = loop.ticker
        loop.start()
        # The grid begins at a whole second; cyclictest's lies half a period from it.
        sleep_until((time.monotonic_ns() // 1_000_000_000 + 1) * 1_000_000_000)

        def tick() -> int:
            loop.advance()
            return ticker.deadline_ns

        def begin() -> None:
            ticker.lateness, ticker.overruns, ticker.skipped = LatencyRecorder(), 0, 0

        _measure(conn, loop, tick, begin, window)
        granted = {setting.name for setting in report.settings if setting.granted}
        refused = tuple(f"{setting.name} {setting.detail}" for setting in report.refused)
        conn.send(
            LoopResult(
                ticker.lateness,
                ticker.lateness.count - ticker.skipped,
                ticker.overruns,
                ticker.skipped,
                fifo="scheduler" in granted,
                refused=refused,
            )
        )
        loop.finish()


def relative_loop(
    conn: Connection,
    config: RobotConfig,
    chunks: Mailbox,
    command: Mailbox,
    feedback: Mailbox,
    window: Window,
    computing: bool,
) -> None:
    """The body of the process that sleeps for a period between ticks, ``computing`` in a thread or not."""
    with reporting(conn):
        loop = ServoLoop(config, lambda: bench_drives(config), chunks, command, feedback)
        loop.start()

        def work(now: int) -> None:
            loop.tick(now)
            loop.ticker.ticks += 1  # by which the trace thins itself

        if computing:
            threading.Thread(target=_compute_forever, daemon=True).start()
        relative = RelativeSleep(loop.ticker.period_ns, work)
        _measure(conn, loop, relative.advance, relative.begin, window)
        conn.send(LoopResult(relative.lateness, relative.ticks, drift_ns=relative.drift_ns))
        loop.finish()


def _measure(
    conn: Connection, loop: ServoLoop, tick: Callable[[], int], begin: Callable[[], None], window: Window
) -> None:
    """Ticks until the arm follows, says so, and on to the end of the window. Raises RuntimeFault."""
    while loop.state is ServoState.HOLDING:
        tick()
    conn.send(Ready())
    while loop.state is ServoState.FOLLOWING and (tick() < window[0] or not window[0]):
        pass
    begin()
    while loop.state is ServoState.FOLLOWING and tick() < window[1]:
        pass
    if loop.state is not ServoState.FOLLOWING:
        reason = loop.machine.transitions[-1].reason if loop.machine.transitions else ""
        raise RuntimeFault(f"the measured loop went to {loop.state.name}: {loop.machine.fault or reason}")


def _compute() -> None:
    for _ in range(100_000):
        pass


def _compute_forever() -> None:
    while True:
        _compute()


def load(conn: Connection, kind: Load) -> None:
    """The body of a process that keeps one core busy at normal priority until it is told to end."""
    with reporting(conn):
        left = np.random.default_rng(0).random((_MATRIX, _MATRIX), np.float32)
        product = np.empty_like(left)
        conn.send(Ready())
        while not conn.poll():
            if kind == "inference":
                np.matmul(left, left, out=product)
            else:
                _compute()
