"""D: the simulated motors answer from a process of their own, which lives as long as the one beside it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from wall_edge_bridge.drives.values import Setpoints

from wall_edge.config import RobotConfig, load_robot
from wall_edge.errors import BusError
from wall_edge.runtime.servo.drives import open_drives
from wall_edge.sim.motors import motors
from wall_edge.sim.tabletop import arm
from wall_edge.sim.twins import RobotTwins

pytestmark = pytest.mark.realtime
TABLETOP = Path(__file__).parents[2] / "examples" / "tabletop"


@pytest.fixture
def mixed() -> RobotConfig:
    """Three joints on a serial bus and three on CAN, on a machine that may be busy."""
    config = load_robot(TABLETOP / "mixed.yaml")
    drives = {name: replace(settings, timeout_ms=500) for name, settings in config.drives.items()}
    control = replace(config.control, feedback_timeout_ms=2000, watchdog_periods=1000)
    return replace(config, drives=drives, control=control)


def soon() -> int:
    return time.monotonic_ns() + 10**9


def test_they_answer_on_every_bus_whatever_the_other_process_does(mixed: RobotConfig) -> None:
    goal = np.add(arm.REST, [0.2, 0.1, -0.1, 0.05, 0.1, 0.1])
    with motors(RobotTwins(mixed, arm.REST)) as running:
        assert list(running.places) == ["arm", "hand"]
        with open_drives(mixed, running.places) as drive:
            drive.arm_watchdog(mixed.control.watchdog_s)
            drive.enable()
            deadline, near = time.monotonic() + 20, False
            while not near:
                assert time.monotonic() < deadline
                feedback = drive.cycle(Setpoints.hold(goal), soon())
                record = running.positions.latest()
                near = record is not None and bool(abs(record["position"] - goal).max() < 0.02)
            np.testing.assert_allclose(feedback.position, goal, atol=0.03)
            drive.disable()
            assert drive.counters.errors == 0
    assert not Path(running.places["arm"]).exists()
    with pytest.raises(BusError), open_drives(mixed, running.places):
        pass


def test_they_die_with_a_process_that_is_killed(mixed: RobotConfig) -> None:
    ours, theirs = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            with motors(RobotTwins(mixed, arm.REST)) as running:
                os.write(theirs, running.places["arm"].encode())
                time.sleep(60)
        finally:  # whatever it raises: this process is not to go on with the suite
            os._exit(0)
    os.close(theirs)  # so that the end of it is seen
    path = os.read(ours, 1000).decode()
    assert Path(path).exists()
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 20
    while Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.close(ours)
