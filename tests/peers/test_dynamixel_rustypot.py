"""rustypot 1.13.1 on simulated X-series motors, unmodified: a second reader of the protocol."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.dynamixel.registers import TABLE
from wall_edge_bridge.kinds.dynamixel.twin import DynamixelTwin
from wall_edge_bridge.sim import serving_port

from tests.peers.dynamixel_twin import START, TICKS, make_twin

rustypot = pytest.importorskip("rustypot", reason="rustypot is not installed")
IDS = list(range(1, 7))
_TRICKY = -131_073
"""ff ff fd ff: it is stuffed."""


@pytest.fixture
def twin() -> DynamixelTwin:
    return make_twin()


@pytest.fixture
def motors(twin: DynamixelTwin) -> Iterator[Any]:
    with serving_port(twin) as port:
        motors = rustypot.Xl330PyController(port.path, 1_000_000, 0.5)
        yield motors
        motors.close()


def test_its_table_is_ours() -> None:
    ours = {register.address: register for register in TABLE.values()}
    for theirs in rustypot.Xl330PyController.registers():
        if theirs.addr in ours:
            assert theirs.size == ours[theirs.addr].length, theirs.name
    names = {theirs.addr for theirs in rustypot.Xl330PyController.registers()}
    assert {132, 116, 64, 98, 70, 126, 128} <= names & ours.keys()


def test_pings_and_scans_find_all(motors: Any) -> None:
    assert motors.ping(3)
    assert not motors.ping(9)
    assert sorted(motors.broadcast_scan()) == IDS


@pytest.mark.parametrize("fast", [False, True])
def test_sync_reads_are_where_the_joints_are(motors: Any, fast: bool) -> None:
    motors.set_fast_sync_read(fast)
    assert list(motors.sync_read_raw_present_position(IDS)) == TICKS
    np.testing.assert_allclose(motors.sync_read_present_position(IDS), START, atol=0.002)
    assert list(motors.sync_read_present_temperature(IDS)) == [30] * 6


def test_it_moves_them(motors: Any, twin: DynamixelTwin) -> None:
    motors.sync_write_torque_enable(IDS, [True] * 6)
    goal = [0.1, 0.2, -0.3, 0.4, -0.5, 0.0]
    motors.sync_write_goal_position(IDS, goal)
    until(lambda: np.abs(np.array(motors.sync_read_present_position(IDS)) - goal).max() < 0.003)
    np.testing.assert_allclose(twin.positions(time.monotonic_ns()), goal, atol=0.005)


def test_stuffed_data_pass_both_ways(motors: Any, twin: DynamixelTwin) -> None:
    motors.write_operating_mode(1, 4)
    twin.motors[0].angle = _TRICKY
    assert _single(motors.read_raw_present_position(1)) == _TRICKY
    motors.write_raw_goal_position(1, _TRICKY)
    assert twin.motors[0].get("goal_position") == _TRICKY


def test_a_hardware_error_shows_in_the_alert_bit_and_goes_with_a_reboot(
    motors: Any, twin: DynamixelTwin
) -> None:
    twin.set_fault(1, "overheating")
    data, error = motors.read_raw_data_with_error(2, 70, 1)
    assert (list(data), error & 0x80) == ([4], 0x80)
    motors.reboot(2)
    time.sleep(0.4)
    assert motors.ping(2)
    assert _single(motors.read_hardware_error_status(2)) == 0


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
