"""Looking for motors, naming what is found instead of one, and giving a motor another id."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.dynamixel.bus import DynamixelBus
from wall_edge_bridge.kinds.dynamixel.codec import MAX_ID, build_ping, build_write
from wall_edge_bridge.kinds.dynamixel.models import model_name
from wall_edge_bridge.kinds.dynamixel.registers import BAUD_RATES, TABLE
from wall_edge_bridge.kinds.dynamixel.replies import Block
from wall_edge_bridge.kinds.dynamixel.settings import DynamixelSettings
from wall_edge_bridge.kinds.registry import MotorIdentity
from wall_edge_bridge.transport import ByteTransport

_PING_NS = 8_000_000
"""How long a motor may take to answer a ping, a slow adapter's delay included."""
_PING = Block(0, 3)
_LIVE = Block.of("realtime_tick", "present_temperature")
"""Two motors with one id never agree on all of it."""


def scan(
    settings: DynamixelSettings,
    wire: ByteTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[MotorIdentity]:
    """Pings and reads only."""
    bus = DynamixelBus(wire, (0,), _timeout_ns(settings), BusCounters(), clock)
    for motor_id in ids:
        answer = bus.exchange(motor_id, build_ping(motor_id), _PING)
        if answer is None:
            continue
        model = model_name(int.from_bytes(answer.data[:2], "little"))
        detail = f"firmware {answer.data[2]}"
        if live := bus.read_one(_LIVE, motor_id):
            detail += f", {live.value('present_voltage') / 10:g} V, {live.value('present_temperature')} °C"
        yield MotorIdentity(motor_id, "dynamixel", model, detail)


def what_answer(bus: DynamixelBus, ids: Iterable[int]) -> str:
    """Why motors that should be there do not answer reads, as far as questions can tell; empty if not at all.

    A ping of either protocol changes nothing in a motor.
    """
    reasons = {motor_id: _what_answers(bus, motor_id) for motor_id in ids}
    return ", ".join(f"id {motor_id}: {words}" for motor_id, words in reasons.items() if words)


def _what_answers(bus: DynamixelBus, motor_id: int) -> str:
    damaged, skipped = bus.counters.checksum_errors, bus.counters.skipped_bytes
    bus.read_one(_LIVE, motor_id)
    if bus.counters.checksum_errors > damaged:
        return "its replies are damaged: two motors with this id, or a bad cable"
    if bus.exchange(motor_id, build_ping(motor_id), _PING):
        return "it answers pings, not reads: its status return level (register 68) is 0"
    if _answers_protocol_1(bus, motor_id):
        return "it speaks Protocol 1.0: an old Dynamixel, an MX with old firmware, or a Feetech servo"
    if bus.counters.skipped_bytes > skipped:
        return "bytes that are no packet: another baud rate, or another kind of motor"
    return ""


def _answers_protocol_1(bus: DynamixelBus, motor_id: int) -> bool:
    body = bytes((motor_id, 2, 1))
    data = bus.raw(b"\xff\xff" + body + bytes((~sum(body) & 0xFF,)))
    start = data.find(b"\xff\xff" + bytes((motor_id, 2)))
    return start >= 0 and len(data) >= start + 6 and sum(data[start + 2 : start + 6]) & 0xFF == 0xFF


def set_id(
    settings: DynamixelSettings,
    wire: ByteTransport,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Written to the motor's memory, with torque off, and read back. Raises DriveError, BusError."""
    if not (0 <= old <= MAX_ID and 0 <= new <= MAX_ID):
        raise DriveError(f"Dynamixel ids {old} to {new}", expected=f"0 to {MAX_ID}")
    bus = DynamixelBus(wire, (0,), _timeout_ns(settings), BusCounters(), clock)
    before = bus.read_one(Block.of("torque_enable"), old)
    if before is None:
        raise BusTimeout(
            f"no answer from id {old} on {wire.description}",
            expected=f"one motor at {settings.baudrate} bit/s",
            fix=f"check its power, cable and baud rate; the maker's rates are {BAUD_RATES}",
        )
    if before.value("torque_enable"):
        raise DriveError(f"id {old} has its torque on", expected="torque off", fix="disable it first")
    if old != new and bus.exchange(new, build_ping(new), _PING):
        raise DriveError(f"a motor answers as id {new} already", expected="a free id")
    register = TABLE["id"]
    bus.exchange(old, build_write(old, register.address, register.encode(new)))
    after = bus.read_one(Block.of("id"), new)
    if after is None or after.value("id") != new:
        raise DriveError(
            f"no motor answers as id {new} after the change from {old}",
            expected="the id read back",
            fix="scan the bus; a motor may refuse while its torque is on",
        )


def _timeout_ns(settings: DynamixelSettings) -> int:
    return max(_PING_NS, 2 * settings.return_delay_us * 1000)
