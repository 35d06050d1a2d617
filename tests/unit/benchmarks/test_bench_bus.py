"""``wall-edge bench bus``: its clock, its figures, and seven joints of every kind in virtual time."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.kinds.registry import KINDS
from wall_edge_bridge.sim.stations import serving

from benchmarks.bus.bus_rates import LEAST
from benchmarks.bus.seven_joints import Bus, bus, buses
from wall_edge.bench.bus import measure_bus
from wall_edge.bench.bus.alone import measure_alone, powered
from wall_edge.bench.bus.clock import DriveClock, WireApart
from wall_edge.bench.bus.loss import cycles_after_loss
from wall_edge.cli import app
from wall_edge.config import robot_from_mapping

ROBOTS = Path(__file__).parents[3] / "examples" / "tabletop"
LINES = buses()


@pytest.fixture
def _no_garbage() -> Iterator[None]:
    """A collection in a worker that has loaded torch takes tenths of a second, on any thread."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def busy(seconds: float) -> None:
    until_ns = time.thread_time_ns() + round(seconds * 1e9)
    while time.thread_time_ns() < until_ns:
        pass


@pytest.mark.usefixtures("_no_garbage")
def test_the_clock_counts_what_its_thread_computes_and_not_what_others_do() -> None:
    clock = DriveClock()
    begin_ns = clock()
    busy(0.02)
    computed_ns = clock() - begin_ns
    assert 18e6 < computed_ns < 60e6
    time.sleep(0.05)
    assert clock() - begin_ns - computed_ns < 20e6


@pytest.mark.usefixtures("_no_garbage")
def test_the_clock_stands_still_while_it_is_stopped_but_for_what_is_slept() -> None:
    clock = DriveClock()
    clock.stop()
    begin_ns = clock()
    busy(0.02)
    assert clock() == begin_ns
    clock.sleep(begin_ns + 5_000_000)
    clock.sleep(begin_ns + 1_000_000)
    assert clock() == begin_ns + 5_000_000
    clock.go_on()
    assert clock() - begin_ns - 5_000_000 < 5_000_000


@pytest.mark.usefixtures("_no_garbage")
def test_asking_the_clock_costs_next_to_nothing_on_it() -> None:
    """A call costs about a microsecond of processor time, more where others take the caches meanwhile."""
    clock = DriveClock()
    shares = []
    for _ in range(10):
        thread_ns, begin_ns = time.thread_time_ns(), clock()
        for _ in range(2_000):
            clock()
        shares.append((clock() - begin_ns) / (time.thread_time_ns() - thread_ns))
    assert min(shares) < 0.8


@pytest.mark.usefixtures("_no_garbage")
def test_a_twin_that_computes_for_long_does_not_slow_the_drive() -> None:
    line = LINES["damiao, CAN"]
    clock = DriveClock()

    class Slow(WireApart):
        def send(self, *what: object) -> None:
            self._clock.stop()
            busy(0.02)
            self._clock.go_on()
            super().send(*what)

    drive, _ = powered(*line[:3], line.rest, clock, lambda wire: Slow(wire, clock))
    begin_ns, thread_ns = clock(), time.thread_time_ns()
    drive.cycle(Setpoints.hold(line.rest), clock() + 50_000_000)
    assert time.thread_time_ns() - thread_ns > 18e6
    assert clock() - begin_ns < 10e6


@pytest.mark.parametrize("name", [name for name in LINES if "Mbaud" not in name or ", 1 Mbaud" in name])
def test_the_protocol_reaches_nine_tenths_of_its_ceiling(name: str) -> None:
    """Seven joints, the line timed, a drive that computes in no time."""
    line = LINES[name]
    found = measure_alone(*line[:3], line.rest, cycles=60)
    ceiling_hz = 1e9 / line.kind.cycle_ns(line.settings, line.joints)
    assert LEAST <= found.protocol_hz / ceiling_hz <= 1.001
    assert found.cycles_hz <= found.protocol_hz * 1.001
    assert found.cpu_us > 0
    if line.published_hz is not None:
        assert ceiling_hz == pytest.approx(line.published_hz, rel=0.003)


def test_every_kind_is_among_them() -> None:
    assert {line.settings.kind for line in LINES.values()} == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_lost_reply_costs_one_joint_one_cycle(kind: str) -> None:
    """Whichever of a cycle's replies it is; but a fast sync read of Dynamixel, which is one packet."""
    line = bus(kind, joints=4, timeout_ms=10.0)
    loss = cycles_after_loss(*line[:3], line.rest)
    assert loss.extra_cycles <= 1
    assert loss.joints <= 1
    assert loss.ms <= 10.0


def test_a_loss_that_is_not_recovered_from_is_counted() -> None:
    """The figure is no constant: all joints of one fast packet are lost at once."""
    line: Bus = bus("dynamixel", joints=4, fast=True)
    assert cycles_after_loss(*line[:3], line.rest).joints == 4


def run(robot: str, *more: str) -> str:
    result = CliRunner().invoke(app, ["bench", "bus", str(ROBOTS / robot), "--seconds", "0.5", *more])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_prints_one_object_with_each_drive() -> None:
    report = json.loads(run("mixed.yaml", "--json"))
    assert report["simulated"] is True
    assert {"machine", "versions", "date"} <= report.keys()
    drives = report["drives"]
    assert [(name, row["kind"], row["joints"]) for name, row in drives.items()] == [
        ("arm", "feetech", 3),
        ("hand", "damiao", 3),
    ]
    for row in drives.values():
        assert row["lost_reply_extra_cycles"] == 1
        assert row["ratio"] == pytest.approx(row["cycles_hz"] / row["ceiling_hz"])
        assert row["ratio"] <= row["protocol_ratio"] * 1.001
        assert 0 < row["two_processes_hz"] <= row["ceiling_hz"] * 1.01


def test_the_command_prints_a_table_for_people() -> None:
    text = run("damiao.yaml")
    assert "6 damiao" in text
    assert "one lost reply costs 1 joint of 1 cycle" in text


@pytest.mark.parametrize("kind", ["feetech", "damiao"])
def test_a_real_robots_motors_are_asked_and_never_powered(kind: str) -> None:
    line = bus(kind, joints=2)
    twin = line.kind.make_twin(line.settings, line.joints, line.rest, timed=False)
    with serving(twin) as (station,):
        keys = (
            {"port": station.place} if kind == "feetech" else {"channel": station.place, "interface": "unix"}
        )
        joints = [
            {"name": joint.name, "id": joint.id, "lower": -1.5, "upper": 1.5, "max_velocity": 3.0}
            for joint in line.joints
        ]
        config = robot_from_mapping(
            {
                "name": "real",
                "bundle": "none",
                "control": {"rest": [0.0, 0.0], "feedback_timeout_ms": 3000, "watchdog_periods": 1000},
                "drives": {"arm": {"kind": kind, "timeout_ms": 1000, **keys}},
                "joints": joints,
                "cameras": {},
            },
            "real",
        )
        row = measure_bus(config, "arm", 0.3)
        assert not any(twin.powered(time.monotonic_ns()))
    assert row["cycles_hz"] > 0
    assert row["lost_reply_extra_cycles"] is None
    assert row["protocol_ratio"] is None
