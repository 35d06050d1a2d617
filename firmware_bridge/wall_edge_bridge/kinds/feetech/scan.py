"""Who is on a Feetech bus: found by reading alone, and told apart where one port allows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from wall_edge.errors import BusTimeout, DriveError, WallEdgeError
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.feetech.bus import ATTEMPTS, Answer, Block, FeetechBus
from wall_edge_bridge.kinds.feetech.codec import build_write
from wall_edge_bridge.kinds.feetech.registers import STS3215
from wall_edge_bridge.kinds.feetech.settings import MAX_SERVO_ID, FeetechSettings
from wall_edge_bridge.kinds.registry import MotorIdentity
from wall_edge_bridge.transport import ByteTransport

IDENTITY = Block.of(STS3215["firmware_major"], STS3215["present_temperature"])
"""One read of 64 bytes. Two servos with one id send theirs at once; position, voltage or temperature differ
between any two, and what arrives is no packet. Short answers may be alike bit for bit, and look like one."""
MODELS = {777: "STS3215", 2825: "STS3250"}
"""By number; as LeRobot has them."""
_LOCK, _ID, _TORQUE = STS3215["lock"], STS3215["id"], STS3215["torque_enable"]
_DYNAMIXEL_PING = bytes.fromhex("fffffd00fe0300013142")
"""Of all, protocol 2.0. It writes nothing, and to a Feetech servo it is no packet."""
_DYNAMIXEL_HEADER = bytes.fromhex("fffffd00")


def require_alone(
    bus: FeetechBus, counters: BusCounters, servo_id: int, attempts: int = ATTEMPTS
) -> Answer | None:
    """Its ``IDENTITY``; None when nothing at all answers under this id.

    Raises DriveError when several answer, or one that has another id in its memory.
    """
    foreign = counters.foreign
    answer, noise = bus.read_one(IDENTITY, servo_id, attempts)
    memory_id = servo_id if answer is None else answer.value(_ID)
    if memory_id != servo_id:
        raise DriveError(
            f"the servo that answers as id {servo_id} has id {memory_id} in its memory",
            expected="one servo an id",
            fix="give every servo its own id, one at a time on the bus",
        )
    if counters.foreign > foreign or (answer is None and noise):
        raise DriveError(
            f"what answers as id {servo_id} cannot be understood",
            expected="one servo an id, at this baud rate",
            fix="look for two servos with this id, and give each its own, one at a time on the bus",
        )
    return answer


def explain_silence(bus: FeetechBus) -> str:
    """What else is on a bus where no servo answers: nothing said, another protocol, another baud rate."""
    bus.send(_DYNAMIXEL_PING)
    heard = bus.listen().removeprefix(_DYNAMIXEL_PING)  # adapters that echo
    if _DYNAMIXEL_HEADER in heard:
        return "; Dynamixel 2.0 motors answer instead: set kind: dynamixel"
    return f"; {len(heard)} bytes came that are no packets: another baud rate?" if heard else ""


def scan(
    settings: FeetechSettings,
    wire: ByteTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[MotorIdentity]:
    """Who answers under ``ids``. Two servos with one id are one entry whose detail says so."""
    counters = BusCounters()
    bus = FeetechBus(settings, wire, (), counters, clock)
    for servo_id in ids:
        try:
            answer = require_alone(bus, counters, servo_id, attempts=2)
        except DriveError as error:
            yield MotorIdentity(servo_id, settings.kind, detail=str(error))
            continue
        if answer is not None:
            model = answer.value(STS3215["model"])
            firmware = ".".join(
                str(answer.value(STS3215[name])) for name in ("firmware_major", "firmware_minor")
            )
            volts = answer.value(STS3215["present_voltage"]) / 10
            detail = f"firmware {firmware}, {volts:g} V"
            yield MotorIdentity(servo_id, settings.kind, MODELS.get(model, str(model)), detail)


def set_id(
    settings: FeetechSettings,
    wire: ByteTransport,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Unlock, write, lock and read back. Refused while the servo holds, and for an id that is taken.

    Raises DriveError, BusError.
    """
    if not 0 <= new <= MAX_SERVO_ID:
        raise DriveError(f"servo id {new}", expected=f"0 to {MAX_SERVO_ID}")
    counters = BusCounters()
    bus = FeetechBus(settings, wire, (), counters, clock)
    answer = require_alone(bus, counters, old)
    if answer is None:
        raise BusTimeout(f"no answer from id {old} on {wire.description}", fix="scan the bus")
    if answer.value(_TORQUE):
        raise DriveError(f"servo {old} has its torque on", expected="torque off", fix="disable the arm first")
    if new == old:
        return
    if require_alone(bus, counters, new) is not None:
        raise DriveError(f"id {new} has a servo already", expected="a free id")
    try:
        for packet in (
            build_write(old, _LOCK.address, b"\0"),
            build_write(old, _ID.address, bytes((new,))),
            build_write(new, _LOCK.address, b"\1"),
        ):
            bus.send(packet)
            bus.listen()
        answer = require_alone(bus, counters, new)
    except WallEdgeError:
        bus.send(build_write(old, _LOCK.address, b"\1"))
        raise
    if answer is None or not answer.value(_LOCK):
        bus.send(build_write(old, _LOCK.address, b"\1"))
        raise DriveError(
            f"servo {old} did not become {new}",
            expected=f"an answer under id {new}, its memory locked again",
            fix="power-cycle the servo and scan the bus",
        )
