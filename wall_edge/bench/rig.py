"""What the loops of :mod:`wall_edge.bench.loop` are given to do, and whether they can at all."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from wall_edge.bench.processes import bench_drives
from wall_edge.config import RobotConfig, robot_from_mapping
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import (
    Chunk,
    ServoCommand,
    chunk_dtype,
    command_dtype,
    feedback_dtype,
)
from wall_edge.runtime.servo.loop import ServoLoop

FEED_S = 0.1
"""From one chunk to the next [s]."""

_DOF, _HORIZON, _STEP_NS = 6, 50, 20_000_000
_RATES = (10.0, 1000.0)
_REHEARSALS = 200


def bench_config(rate_hz: float) -> RobotConfig:
    """Six joints at ``rate_hz``, tied to the last core; else as by default. Raises ConfigError."""
    if not _RATES[0] <= rate_hz <= _RATES[1]:
        low, high = _RATES
        raise ConfigError(
            f"--rate {rate_hz:g}", expected=f"{low:g} to {high:g} Hz, the range of control.rate_hz"
        )
    joints = [
        {"name": f"joint{k}", "id": k + 1, "lower": -1.5, "upper": 1.5, "max_velocity": 3.0}
        for k in range(_DOF)
    ]
    slow_ms = max(100.0, 2000.0 / rate_hz)
    control = {
        "rate_hz": rate_hz,
        "rest": [0.0] * _DOF,
        "blend_ms": slow_ms,
        "feedback_timeout_ms": slow_ms,
        "cpu": max(os.sched_getaffinity(0)),
    }
    policy = {"chunk_period_ms": 2 * slow_ms}
    robot = {
        "name": "bench",
        "bundle": "none",
        "control": control,
        "policy": policy,
        "drives": {"arm": {"kind": "feetech", "port": "computed"}},
        "joints": joints,
        "cameras": {},
    }
    return robot_from_mapping(robot, "bench")


class Feeder:
    """Supervisor and policy of the measured loop: a heartbeat, and a chunk that begins where the plan is.

    ``clock`` is CLOCK_MONOTONIC ns, or the loop's own.
    """

    def __init__(self, dof: int = _DOF, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.chunks = Mailbox(chunk_dtype(_HORIZON, dof))
        self.command = Mailbox(command_dtype())
        self.feedback = Mailbox(feedback_dtype(dof))
        self._index, self._dof = 0, dof
        self.feed(clock())

    def feed(self, now: int) -> None:
        """Publishes both, at ``now`` [ns]."""
        command, chunk = np.zeros(1, command_dtype())[0], np.zeros(1, self.chunks.dtype)[0]
        command["command"], command["epoch"], command["heartbeat_ns"] = ServoCommand.FOLLOW, 1, now
        self.command.write(command)
        feedback = self.feedback.read()
        plan_ns = 0 if feedback is None else int(feedback["plan_ns"])
        self._index += 1
        due = (plan_ns + _STEP_NS * np.arange(_HORIZON)) / 1e9
        swing = 0.4 * np.sin(np.pi * due[:, None]) * np.linspace(0.5, 1.0, self._dof)
        Chunk(self._index, now, _STEP_NS, 1, swing, plan_ns, now).fill(chunk)
        self.chunks.write(chunk)


def median_tick_ns(config: RobotConfig) -> float:
    """What a tick that follows a chunk takes here, the sleep aside: as fast as it can, in virtual time."""
    now = [time.monotonic_ns()]
    feeder = Feeder()
    loop = ServoLoop(
        config,
        lambda: bench_drives(config, lambda: now[0]),
        feeder.chunks,
        feeder.command,
        feeder.feedback,
        clock=lambda: now[0],
        sleep=lambda deadline: now.__setitem__(0, deadline),
    )
    loop.start()
    durations = []
    for _ in range(_REHEARSALS):
        now[0] += loop.ticker.period_ns
        start_ns = time.perf_counter_ns()
        loop.tick(now[0])
        durations.append(time.perf_counter_ns() - start_ns)
        if loop.served_ticks % max(1, round(config.control.rate_hz * FEED_S)) == 0:
            feeder.feed(now[0])
    loop.finish()
    if loop.machine.fault:
        raise RuntimeFault(f"the rehearsal failed: {loop.machine.fault}")
    return statistics.median(durations)


def require_rate(rate_hz: float, tick_ns: float) -> None:
    """Refuses a rate at which a tick takes longer than a period. Raises ConfigError."""
    if tick_ns * rate_hz > 1e9:
        raise ConfigError(
            f"a tick takes {tick_ns / 1e3:.0f} µs at the median here, "
            f"{rate_hz:g} Hz leaves {1e6 / rate_hz:.0f} µs",
            expected=f"at most about {1e9 / tick_ns:.0f} Hz",
        )
