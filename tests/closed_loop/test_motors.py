"""D: the simulated servos answer from a process of their own, which lives as long as the one beside it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from wall_edge_bridge.drives import FeetechDrive, JointSpec
from wall_edge_bridge.sim import PtyPort, SimulatedServoBus
from wall_edge_bridge.transport import SerialTransport

from wall_edge.sim.motors import motors

pytestmark = pytest.mark.realtime
JOINTS = [JointSpec(f"joint{n}", n, -1.5, 1.5, 6.0) for n in (1, 2)]


def test_they_answer_whatever_the_other_process_does_and_end_with_it() -> None:
    port = PtyPort()
    path = port.path
    with motors(SimulatedServoBus(JOINTS, [0.3, -0.3]), port) as positions:
        drive = FeetechDrive(SerialTransport(path), JOINTS, 0.5)
        drive.connect()
        drive.enable()
        drive.write([0.5, 0.5], time.monotonic_ns() + 10**9)
        deadline = time.monotonic() + 20
        while (record := positions.latest()) is None or abs(record["position"] - 0.5).max() > 0.01:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        drive.disable()
        assert drive.counters.errors == 0
        drive.close()
    assert not Path(path).exists()


def test_they_die_with_a_process_that_is_killed() -> None:
    port = PtyPort()
    path = port.path
    parent = os.fork()
    if not parent:
        with motors(SimulatedServoBus(JOINTS), port):
            time.sleep(60)
    port.close()
    time.sleep(0.3)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 20
    while Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
