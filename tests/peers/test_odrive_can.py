"""odrive-can operates our simulated ODrives, and our drive its mock motor; unmodified, in real time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.kinds.odrive import KIND, ODriveJoint, ODriveSettings
from wall_edge_bridge.kinds.odrive.errors import State
from wall_edge_bridge.transport.opening import open_wire

from tests.peers.can_motors import serving

can = pytest.importorskip("can")
pytest.importorskip("odrive_can", reason="odrive-can needs Python 3.11")
JOINT = ODriveJoint("j", id=3, lower=-3.0, upper=3.0, max_velocity=9.0)
TURN = 2 * np.pi


@pytest.fixture
def mock() -> Iterator[Any]:
    """Their motor at node 3, in a thread; heartbeats every 0.2 s, estimates every 0.1 s."""
    from odrive_can.mock import ODriveCANMock

    mock = ODriveCANMock(3, can.Bus(interface="virtual", channel="odrive-mock"))
    loop = asyncio.new_event_loop()
    task = loop.create_task(mock.main())

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield mock
    loop.call_soon_threadsafe(task.cancel)
    thread.join(5)
    mock.notifier.stop()


def test_our_drive_operates_their_mock_motor(mock: Any) -> None:
    settings = ODriveSettings(channel="odrive-mock", interface="virtual", estimates_ms=100, timeout_ms=500)
    with KIND.open_drive(settings, [JOINT], open_wire(settings)) as drive:
        drive.enable()
        assert (mock.odrive.axis_state, mock.odrive.control_mode) == (
            "CLOSED_LOOP_CONTROL",
            "POSITION_CONTROL",
        )
        goal = np.array([1.25])
        for _ in range(6):
            feedback = drive.cycle(Setpoints.hold(goal), time.monotonic_ns() + 500_000_000)
        np.testing.assert_allclose(feedback.position, goal, atol=1e-5)
        assert mock.odrive.model.val * TURN == pytest.approx(1.25, abs=1e-5)
        assert (feedback.limp, feedback.faults) == ((), ((),))
        drive.disable()
        assert str(mock.odrive.axis_state) == "IDLE"
        assert drive.torque() == (False,)


def test_odrive_can_operates_our_simulated_motor() -> None:
    from odrive_can.odrive import ODriveCAN

    twin = KIND.make_twin(ODriveSettings(estimates_ms=10), [JOINT], np.array([0.3]))

    async def operate() -> None:
        client = ODriveCAN(3, can.Bus(interface="virtual", channel="odrive-twin"))
        await client.start()
        client.check_alive()
        client.check_errors()
        estimates = await client.get_encoder_estimates()
        assert estimates["Pos_Estimate"] * TURN == pytest.approx(0.3, abs=1e-5)
        assert (await client.get_bus_voltage_current())["Bus_Voltage"] == 24.0
        client.set_controller_mode("POSITION_CONTROL", "PASSTHROUGH")
        client.set_input_pos(0.3 / TURN)
        await client.set_axis_state("CLOSED_LOOP_CONTROL")
        assert twin.motors[0].state == State.CLOSED_LOOP
        client.set_input_pos(-1.0 / TURN)
        await asyncio.sleep(0.5)
        assert twin.positions(time.monotonic_ns())[0] == pytest.approx(-1.0, abs=2e-3)
        twin.motors[0].fail("SPINOUT_DETECTED")
        for _ in range(2):  # one may be on its way
            await client.wait_for_heartbeat()
        with pytest.raises(Exception, match="SPINOUT_DETECTED"):
            client.check_errors()
        client.clear_errors()
        for _ in range(2):
            await client.wait_for_heartbeat()
        client.check_errors()
        client.stop()

    with serving(twin, "odrive-twin"):
        asyncio.run(operate())
