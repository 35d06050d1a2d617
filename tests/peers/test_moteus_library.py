"""mjbots' own library, unmodified, operates our simulated motors over python-can."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest

moteus = pytest.importorskip("moteus")
pytest.importorskip("can")

from wall_edge_bridge.kinds.moteus import KIND, MoteusJoint, MoteusSettings  # noqa: E402
from wall_edge_bridge.kinds.moteus import registers as reg  # noqa: E402
from wall_edge_bridge.kinds.moteus.drive import MoteusDrive  # noqa: E402
from wall_edge_bridge.transport.python_can import open_python_can  # noqa: E402

from tests.peers.can_motors import serving  # noqa: E402

CHANNEL = "moteus-judge"
JOINTS = [
    MoteusJoint(name=f"j{motor}", id=motor, lower=-6.0, upper=6.0, max_velocity=9.0) for motor in (1, 2, 9)
]
START = np.array([0.5, -1.0, 2.0])
TURN = 2 * math.pi
R = moteus.Register


@pytest.fixture
def twin() -> Iterator[Any]:
    """Three motors, one of them with an id that needs extended frames."""
    twin = KIND.make_twin(MoteusSettings(), JOINTS, START)
    with serving(twin, CHANNEL):
        yield twin


def operated(use: Callable[[Any], Awaitable[None]]) -> None:
    """``use`` gets a transport of the library, on the virtual bus."""

    async def run() -> None:
        transport = moteus.PythonCan(interface="virtual", channel=CHANNEL, fd=True)
        try:
            await asyncio.wait_for(use(transport), 10)
        finally:
            transport.close()

    asyncio.run(run())


def test_a_query_reads_position_voltage_temperature_and_mode(twin: Any) -> None:  # noqa: ARG001
    async def use(transport: Any) -> None:
        for joint, start in zip(JOINTS, START, strict=True):
            result = await moteus.Controller(id=joint.id, transport=transport).query()
            assert result.id == joint.id
            assert result.values[R.MODE] == moteus.Mode.STOPPED
            assert result.values[R.POSITION] == pytest.approx(start / TURN, abs=1e-6)
            assert result.values[R.VOLTAGE] == 24.0
            assert result.values[R.TEMPERATURE] == 25.0
            assert result.values[R.FAULT] == 0

    operated(use)


def test_queries_of_every_resolution_are_read_alike(twin: Any) -> None:  # noqa: ARG001
    async def use(transport: Any) -> None:
        for resolution, close in (
            (moteus.INT8, 0.01),
            (moteus.INT16, 1e-4),
            (moteus.INT32, 1e-5),
            (moteus.F32, 1e-6),
        ):
            query = moteus.QueryResolution()
            query.position = resolution
            controller = moteus.Controller(id=1, transport=transport, query_resolution=query)
            result = await controller.query()
            assert result.values[R.POSITION] == pytest.approx(0.5 / TURN, abs=close)

    operated(use)


def test_positions_are_held_followed_and_stopped(twin: Any) -> None:
    async def use(transport: Any) -> None:
        controller = moteus.Controller(id=2, transport=transport)
        for _ in range(20):
            result = await controller.set_position(position=math.nan, watchdog_timeout=1.0, query=True)
            await asyncio.sleep(0.002)
        assert result.values[R.MODE] == moteus.Mode.POSITION
        assert result.values[R.POSITION] == pytest.approx(-1.0 / TURN, abs=1e-3)
        for _ in range(150):
            result = await controller.set_position(
                position=0.05, velocity=0.0, maximum_torque=3.0, watchdog_timeout=1.0, query=True
            )
            await asyncio.sleep(0.004)
        assert result.values[R.POSITION] == pytest.approx(0.05, abs=0.01)
        await controller.set_stop(query=True)
        result = await controller.query()
        assert result.values[R.MODE] == moteus.Mode.STOPPED
        assert not twin.motors[1].torque_on

    operated(use)


def test_its_watchdog_runs_out_and_a_stop_clears_it(twin: Any) -> None:  # noqa: ARG001
    async def use(transport: Any) -> None:
        controller = moteus.Controller(id=1, transport=transport)
        await controller.set_position(position=math.nan, watchdog_timeout=0.05, query=True)
        await asyncio.sleep(0.1)
        assert (await controller.query()).values[R.MODE] == moteus.Mode.TIMEOUT
        with pytest.raises(moteus.FaultError, match="mode=11"):
            await controller.set_position_wait_complete(position=math.nan, period_s=0.001)
        await controller.set_stop()
        assert (await controller.query()).values[R.MODE] == moteus.Mode.STOPPED

    operated(use)


def test_faults_and_limiters_are_its_codes(twin: Any) -> None:
    async def use(transport: Any) -> None:
        twin.set_fault(0, "over_voltage")
        values = (await moteus.Controller(id=1, transport=transport).query()).values
        assert (values[R.MODE], values[R.FAULT]) == (moteus.Mode.FAULT, 34)
        twin.motors[1].limiter = 99
        assert (await moteus.Controller(id=2, transport=transport).query()).values[R.FAULT] == 99

    operated(use)


def test_a_cycle_reads_all_motors_at_once_and_discovery_finds_them(twin: Any) -> None:  # noqa: ARG001
    async def use(transport: Any) -> None:
        controllers = [moteus.Controller(id=joint.id, transport=transport) for joint in JOINTS]
        results = await transport.cycle([each.make_query() for each in controllers])
        assert sorted(result.id for result in results) == [1, 2, 9]
        found = await transport.discover()
        assert sorted(device.address.can_id for device in found) == [1, 2, 9]

    operated(use)


def test_a_register_that_is_none_has_no_value(twin: Any) -> None:  # noqa: ARG001
    async def use(transport: Any) -> None:
        controller = moteus.Controller(id=1, transport=transport)
        result = await controller.custom_query({0x3F0: moteus.INT8})
        assert result.values == {}

    operated(use)


def test_our_drive_and_the_library_share_a_bus(twin: Any) -> None:
    """The library looks on while the drive holds the arm; in real time."""
    wire = open_python_can("virtual", CHANNEL, 1_000_000)
    drive = MoteusDrive(MoteusSettings(timeout_ms=200.0), JOINTS, wire)
    with drive:
        assert drive.arm_watchdog(2.0) == 2.0
        drive.enable()

        async def use(transport: Any) -> None:
            controller = moteus.Controller(id=9, transport=transport)
            result = await controller.query()
            assert result.values[R.MODE] == moteus.Mode.POSITION
            assert result.values[R.POSITION] == pytest.approx(2.0 / TURN, abs=1e-3)
            timeout = await controller.custom_query({reg.COMMAND_TIMEOUT: moteus.F32})
            assert timeout.values[reg.COMMAND_TIMEOUT] == pytest.approx(2.0)

        operated(use)
        feedback = drive.cycle(None, time.monotonic_ns() + 200_000_000)
        np.testing.assert_allclose(feedback.position, START, atol=1e-3)
        drive.disable()
    assert not any(motor.torque_on for motor in twin.motors)
