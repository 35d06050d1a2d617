"""ROBOTIS' dynamixel-sdk (4.1.0 pinned; 3.7.31 passes too) on simulated X-series motors, unmodified."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from wall_edge_bridge.kinds.dynamixel.registers import TABLE
from wall_edge_bridge.kinds.dynamixel.twin import DynamixelTwin
from wall_edge_bridge.sim import PtyPort, serving_port

from tests.peers.dynamixel_twin import TICKS, make_twin

sdk = pytest.importorskip("dynamixel_sdk", reason="ROBOTIS' dynamixel-sdk is not installed")
IDS = range(1, 7)
_TRICKY = -131_073
"""ff ff fd ff: it is stuffed."""


@pytest.fixture
def twin() -> DynamixelTwin:
    return make_twin()


@pytest.fixture
def pty(twin: DynamixelTwin) -> Iterator[PtyPort]:
    with serving_port(twin) as pty:
        yield pty


@pytest.fixture
def port(pty: PtyPort) -> Iterator[Any]:
    port = sdk.PortHandler(pty.path)
    port.openPort()
    assert port.setBaudRate(1_000_000)
    yield port
    port.closePort()


@pytest.fixture
def packets() -> Any:
    return sdk.PacketHandler(2.0)


def test_pings_find_all_motors_and_their_model(port: Any, packets: Any) -> None:
    assert packets.ping(port, 3) == (1200, sdk.COMM_SUCCESS, 0)
    assert packets.ping(port, 9)[1] == sdk.COMM_RX_TIMEOUT
    found, result = packets.broadcastPing(port)
    assert result == sdk.COMM_SUCCESS
    assert {motor: list(told) for motor, told in found.items()} == {motor: [1200, 46] for motor in IDS}


def test_every_register_is_read(port: Any, packets: Any) -> None:
    reads = {1: packets.read1ByteTxRx, 2: packets.read2ByteTxRx, 4: packets.read4ByteTxRx}
    changing = {"id", "baud_code", "return_delay", "goal_position", "position_trajectory"}
    changing |= {"present_position", "realtime_tick"}
    for name, register in TABLE.items():
        value, result, error = reads[register.length](port, 2, register.address)
        assert (result, error) == (sdk.COMM_SUCCESS, 0), name
        if name not in changing:
            assert value == register.default % (1 << 8 * register.length), name
    assert packets.read4ByteTxRx(port, 2, 132)[0] == TICKS[1]


def test_writes_are_acknowledged_or_refused_with_the_protocols_error(port: Any, packets: Any) -> None:
    assert packets.write1ByteTxRx(port, 1, 64, 1) == (sdk.COMM_SUCCESS, 0)
    assert packets.write1ByteTxRx(port, 1, 11, 4) == (sdk.COMM_SUCCESS, sdk.ERRNUM_ACCESS)
    assert packets.write4ByteTxRx(port, 1, 116, 5000) == (sdk.COMM_SUCCESS, sdk.ERRNUM_DATA_LIMIT)
    assert packets.write1ByteTxRx(port, 1, 68, 9) == (sdk.COMM_SUCCESS, sdk.ERRNUM_DATA_RANGE)
    assert packets.write2ByteTxRx(port, 1, 116, 9) == (sdk.COMM_SUCCESS, sdk.ERRNUM_DATA_LENGTH)
    assert packets.write4ByteTxRx(port, 1, 116, 2000) == (sdk.COMM_SUCCESS, 0)
    until(lambda: abs(packets.read4ByteTxRx(port, 1, 132)[0] - 2000) <= 1)


def test_sync_write_and_sync_read_move_all(port: Any, packets: Any, twin: DynamixelTwin) -> None:
    torque = sdk.GroupSyncWrite(port, packets, 64, 1)
    goals = sdk.GroupSyncWrite(port, packets, 116, 4)
    for motor in IDS:
        assert torque.addParam(motor, [1])
        assert goals.addParam(motor, list((2000 + motor).to_bytes(4, "little")))
    assert torque.txPacket() == goals.txPacket() == sdk.COMM_SUCCESS
    read = sdk.GroupSyncRead(port, packets, 126, 10)
    for motor in IDS:
        read.addParam(motor)

    def there() -> bool:
        assert read.txRxPacket() == sdk.COMM_SUCCESS
        return all(abs(read.getData(motor, 132, 4) - 2000 - motor) <= 1 for motor in IDS)

    until(there)
    assert all(twin.powered(time.monotonic_ns()))


def test_a_fast_sync_read_is_one_packet(port: Any, packets: Any) -> None:
    read = sdk.GroupSyncRead(port, packets, 132, 4)
    if not hasattr(read, "fastSyncRead"):
        pytest.skip("this SDK knows no fast sync read")
    for motor in IDS:
        read.addParam(motor)
    assert read.fastSyncRead() == sdk.COMM_SUCCESS
    assert [read.getData(motor, 132, 4) for motor in IDS] == TICKS


def test_reg_write_waits_for_action(port: Any, packets: Any) -> None:
    assert packets.regWriteTxRx(port, 1, 116, 4, [0, 8, 0, 0]) == (sdk.COMM_SUCCESS, 0)
    assert packets.read1ByteTxRx(port, 1, 69)[0] == 1
    packets.action(port, sdk.BROADCAST_ID)
    until(lambda: packets.read4ByteTxRx(port, 1, 116)[0] == 2048)


def test_reboot_clears_a_hardware_error_and_the_torque(port: Any, packets: Any, twin: DynamixelTwin) -> None:
    packets.write1ByteTxRx(port, 1, 64, 1)
    twin.set_fault(0, "overload")
    value, result, error = packets.read1ByteTxRx(port, 1, 70)
    assert (value, result, error & 0x80) == (0x20, sdk.COMM_SUCCESS, 0x80)
    assert packets.reboot(port, 1)[0] == sdk.COMM_SUCCESS
    until(lambda: packets.ping(port, 1)[1] == sdk.COMM_SUCCESS)
    assert packets.read1ByteTxRx(port, 1, 70) == (0, sdk.COMM_SUCCESS, 0)
    assert packets.read1ByteTxRx(port, 1, 64)[0] == 0


def test_turns_are_cleared_and_the_factory_values_come_back(port: Any, packets: Any) -> None:
    packets.write1ByteTxRx(port, 1, 11, 4)
    packets.write4ByteTxRx(port, 1, 20, 9000)
    assert packets.clearMultiTurn(port, 1)[0] == sdk.COMM_SUCCESS
    assert packets.factoryReset(port, 1, 0x02)[0] == sdk.COMM_SUCCESS
    until(lambda: packets.ping(port, 1)[1] == sdk.COMM_SUCCESS)
    assert packets.read1ByteTxRx(port, 1, 9)[0] == 250
    assert packets.read4ByteTxRx(port, 1, 20)[0] == 0


def test_the_watchdog_trips_and_is_cleared(port: Any, packets: Any) -> None:
    packets.write1ByteTxRx(port, 1, 64, 1)
    assert packets.write1ByteTxRx(port, 1, 98, 2) == (sdk.COMM_SUCCESS, 0)
    time.sleep(0.1)
    assert packets.read1ByteTxRx(port, 1, 98)[0] == 0xFF
    assert packets.write4ByteTxRx(port, 1, 116, 2000)[1] == sdk.ERRNUM_DATA_RANGE
    assert packets.write1ByteTxRx(port, 1, 98, 0) == (sdk.COMM_SUCCESS, 0)
    assert packets.write4ByteTxRx(port, 1, 116, 2000) == (sdk.COMM_SUCCESS, 0)


def test_it_reads_stuffed_data_and_sends_none(port: Any, packets: Any, twin: DynamixelTwin) -> None:
    """Its own stuffing never reaches the wire, so the motors do not understand what needs it."""
    packets.write1ByteTxRx(port, 1, 11, 4)
    twin.motors[0].angle = _TRICKY
    assert packets.read4ByteTxRx(port, 1, 132) == (_TRICKY % (1 << 32), sdk.COMM_SUCCESS, 0)
    result, _ = packets.write4ByteTxRx(port, 1, 116, _TRICKY % (1 << 32))
    assert result == sdk.COMM_RX_TIMEOUT
    assert twin.motors[0].get("goal_position") != _TRICKY


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
