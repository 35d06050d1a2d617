"""A servo process that is killed leaves no motor moving that has a watchdog; others are said to have none."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace

import numpy as np
import pytest
from wall_edge_bridge.kinds.registry import KINDS, kind_named
from wall_edge_bridge.sim.base import ByteTwin, FrameTwin
from wall_edge_bridge.sim.stations import serving

from tests.machines.servo_process import ServoProcess
from wall_edge.config import RobotConfig, robot_from_mapping
from wall_edge.errors import ConfigError
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.telemetry.servo.watchdogs import watchdog_words

RATE_HZ = 10.0
PERIODS = 22
"""2.2 s, near the longest that Dynamixel's bus watchdog takes: a busy machine may stall for two seconds."""
START = [0.3, 0.3]


def with_watchdog() -> list[str]:
    """Kinds that have one, and whose library is here."""
    names = []
    for name in KINDS:
        try:
            names += [name] if kind_named(name).capabilities.watchdog else []
        except ConfigError:
            continue
    return names


def robot_of(*kinds: str) -> RobotConfig:
    """Two joints on each of several drives, named after their kinds."""
    joints = [
        {"name": f"{kind}_{n}", "drive": kind, "id": n, "lower": -1.5, "upper": 1.5, "max_velocity": 4.0}
        for kind in kinds
        for n in (1, 2)
    ]
    control = {
        "rate_hz": RATE_HZ,
        "watchdog_periods": PERIODS,
        "fifo_priority": None,
        "lock_memory": False,
        "rest": [0.0] * len(joints),
        "rest_velocity": 2.0,
        "blend_ms": 200,
        "feedback_timeout_ms": 3000,
        "heartbeat_timeout_ms": 5000,
        "starved_fault_ms": 20_000,
    }
    data = {
        "name": "test",
        "bundle": "none",
        "control": control,
        "policy": {"max_chunk_age_ms": 10_000, "chunk_period_ms": 500},
        "simulated": True,
        "simulation": {"world": "tabletop", "seed": 0},
        "drives": {kind: {"kind": kind, "timeout_ms": 1000} for kind in kinds},
        "joints": joints,
        "cameras": {},
    }
    config = robot_from_mapping(data, "test")
    # As in the contract suite: with what a kind needs to be told before it can arm its watchdog.
    cases = {kind: importlib.import_module(f"tests.drive_cases.{kind}").CASE for kind in kinds}
    settings = {kind: replace(case.settings, timeout_ms=1000) for kind, case in cases.items()}
    return replace(config, drives=settings)


def twin_of(config: RobotConfig, drive: str) -> ByteTwin | FrameTwin:
    settings = config.drives[drive]
    return kind_named(settings.kind).make_twin(settings, config.joints_of(drive), START, timed=False)


@pytest.mark.parametrize("kind", with_watchdog())
def test_a_killed_servo_process_stops_every_motor_that_has_a_watchdog(kind: str) -> None:
    config = robot_of(kind, "feetech")
    guarded, plain = (twin_of(config, name) for name in config.drives)
    with serving(guarded, plain) as stations:
        places = {name: station.place for name, station in zip(config.drives, stations, strict=True)}
        servo = ServoProcess(config, places)
        try:
            servo.follow(0.3 + 0.1 * np.arange(8)[:, None])
            time.sleep(1.5 * PERIODS / RATE_HZ)  # nothing bites while the loop runs
            assert servo.process.is_alive(), servo.told()["fault"]
            assert servo.state() is ServoState.FOLLOWING
            servo.process.kill()
            servo.process.join()
            killed_ns = time.monotonic_ns()
            drives = servo.told()["bus"]["drives"]
        finally:
            servo.end()
        watchdog_s = drives[kind]["watchdog_s"]
        assert PERIODS / RATE_HZ <= watchdog_s <= 1.5 * PERIODS / RATE_HZ
        time.sleep(max(0.0, watchdog_s + 0.1 - (time.monotonic_ns() - killed_ns) / 1e9))
    # Nobody serves them any more: from here on they are this thread's.
    due_ns = killed_ns + round((watchdog_s + 0.1) * 1e9)
    then = guarded.positions(due_ns)
    limp = not any(guarded.powered(due_ns))
    assert limp or np.abs(guarded.positions(due_ns + 500_000_000) - then).max() < 1e-3
    assert drives["feetech"]["watchdog_s"] is None
    assert all(plain.powered(due_ns))  # nobody has said that it would stop
    words = watchdog_words(drives)
    assert f"{kind} ({kind}) {1e3 * watchdog_s:.0f} ms" in words
    assert "feetech (feetech) has none (an STS servo has none): the heartbeat stands in" in words
