"""The computed drive that ``bench loop`` measures the loop with."""

from __future__ import annotations

import numpy as np
import pytest
from wall_edge_bridge.drives import Joint, Setpoints
from wall_edge_bridge.sim import VirtualClock
from wall_edge_bridge.sim.drive import SimulatedDrive

from wall_edge.errors import BusTimeout, DriveError

JOINTS = [Joint("a", 1, -1.0, 1.0, 6.0), Joint("b", 2, -1.0, 1.0, 6.0)]
MS = 1_000_000


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def drive(clock: VirtualClock) -> SimulatedDrive:
    return SimulatedDrive(JOINTS, [0.5, -0.5], clock)


def test_it_keeps_the_contract(drive: SimulatedDrive, clock: VirtualClock) -> None:
    with drive:
        assert drive.arm_watchdog(0.1) is None
        feedback = drive.cycle(Setpoints.hold([0.0, 0.0]), clock() + MS)
        clock.sleep(clock() + 500 * MS)
        np.testing.assert_allclose(drive.positions(), [0.5, -0.5])
        drive.enable()
        assert drive.torque() == (True, True)
        clock.sleep(clock() + 500 * MS)
        np.testing.assert_allclose(drive.positions(), [0.5, -0.5])
        drive.cycle(Setpoints.hold([0.25, 0.75]), clock() + MS)
        clock.sleep(clock() + 2000 * MS)
        feedback = drive.cycle(None, clock() + MS)
        np.testing.assert_allclose(feedback.position, [0.25, 0.75], atol=1e-3)
        assert (feedback.received_ns == clock()).all()
        assert np.isnan(feedback.velocity).all()
        drive.disable()
    assert drive.counters.cycles == 3
    assert len(drive.written) == 2


def test_it_refuses_what_every_drive_refuses(drive: SimulatedDrive, clock: VirtualClock) -> None:
    with pytest.raises(DriveError, match="joint b"):
        drive.cycle(Setpoints.hold([0.0, 1.1]), clock() + MS)
    assert drive.written == []
    with pytest.raises(BusTimeout):
        drive.cycle(None, clock() - 1)
