"""Feetech SMS/STS bus packets: pure functions from values to bytes and back, no I/O.

Source: Feetech, "SMS/STS servo communication protocol manual" (磁编码, magnetic-encoder version).
Half-duplex serial, 8N1, 1 Mbaud from the factory. One layout for both directions, numbers little-endian.

::

    byte      0     1     2     3        4             5 … length+2   length+3
            ┌─────┬─────┬─────┬────────┬─────────────┬──────────────┬──────────┐
    request │ FF  │ FF  │ id  │ length │ instruction │ parameters   │ checksum │
    status  │ FF  │ FF  │ id  │ length │ error bits  │ data         │ checksum │
            └─────┴─────┴─────┴────────┴─────────────┴──────────────┴──────────┘
    id        0–253 one servo, 254 (FE) all of them; FF is never an id
    length    parameters + 2 (it counts instruction and checksum)
    checksum  ~(id + length + instruction + parameters) & FF

    instruction   code  parameters                                answered by
    ping          01    –                                         the servo: status
    read          02    address, count                            the servo: status with the data
    write         03    address, data …                           the servo: status
    reg write     04    address, data …  (kept until "action")    the servo: status
    action        05    –                                         nobody when sent to FE
    recovery      06    –  (factory values)                       the servo: status
    reset         0A    –  (counted turns)                        the servo: status
    calibrate     0B    –  (this position becomes 2048)           the servo: status
    sync read     82    address, count, id …                      each named servo, in that order
    sync write    83    address, count, (id, data …) …            nobody

There is no escape sequence: ``FF FF`` may appear inside data, so a parser that lost its place can only
try every ``FF FF`` and believe the checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from wall_edge.errors import ConfigError
from wall_edge_bridge.kinds.feetech.settings import MAX_SERVO_ID

BROADCAST_ID = 0xFE
MAX_PARAMETERS = 0xFF - 2
HEADER = b"\xff\xff"
OVERHEAD = 6
"""Bytes of a packet that carries no parameters."""

ERROR_BITS = {0: "voltage", 1: "angle sensor", 2: "overheat", 3: "overcurrent", 5: "overload"}
"""Bits of a status packet's error byte, as of register 65; the manual leaves 4, 6 and 7 undefined."""


class Instruction(IntEnum):
    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    RECOVERY = 0x06
    RESET = 0x0A
    CALIBRATE = 0x0B
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


class Request(NamedTuple):
    """What a host sends. ``instruction`` is a plain int: a damaged or newer one must still be parsed."""

    id: int
    instruction: int
    params: bytes


class Status(NamedTuple):
    """What a servo answers. ``error`` holds the raw bits; ``decode_error`` names them."""

    id: int
    error: int
    params: bytes


def checksum(body: bytes) -> int:
    """One byte over everything between the header and the checksum itself."""
    return ~sum(body) & 0xFF


def build_packet(packet_id: int, code: int, params: bytes = b"") -> bytes:
    """One packet in either direction; ``code`` is the instruction or the error byte.

    Raises ConfigError for an id or a length that the format cannot carry.
    """
    if not 0 <= packet_id <= BROADCAST_ID:
        raise ConfigError(f"servo id {packet_id}", expected=f"0 to {MAX_SERVO_ID}, or {BROADCAST_ID} for all")
    if len(params) > MAX_PARAMETERS:
        raise ConfigError(
            f"a Feetech packet with {len(params)} parameter bytes",
            expected=f"at most {MAX_PARAMETERS}",
            fix="address fewer servos or registers at once",
        )
    body = bytes((packet_id, len(params) + 2, code)) + params
    return HEADER + body + bytes((checksum(body),))


def build_read(servo_id: int, address: int, count: int) -> bytes:
    return build_packet(servo_id, Instruction.READ, bytes((address, count)))


def build_write(servo_id: int, address: int, data: bytes) -> bytes:
    return build_packet(servo_id, Instruction.WRITE, bytes((address,)) + data)


def build_sync_read(address: int, count: int, servo_ids: Sequence[int]) -> bytes:
    """Every named servo answers ``count`` bytes from ``address``, in the order of ``servo_ids``."""
    return build_packet(BROADCAST_ID, Instruction.SYNC_READ, bytes((address, count, *servo_ids)))


def build_sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """One packet that writes ``data[servo_id]`` at ``address`` of every servo; all must be equally long.

    Raises ConfigError when they are not, or when there are none.
    """
    widths = {len(value) for value in data.values()}
    if len(widths) != 1:
        raise ConfigError(
            f"a sync write with data of {sorted(widths)} bytes",
            expected="one length for all servos, at least one",
        )
    block = b"".join(bytes((servo_id,)) + value for servo_id, value in data.items())
    return build_packet(BROADCAST_ID, Instruction.SYNC_WRITE, bytes((address, *widths)) + block)


class SyncWriter:
    """Sync writes of one register of ``width`` bytes on the same servos: what a servo loop sends."""

    def __init__(self, address: int, width: int, servo_ids: Sequence[int]) -> None:
        self._values = struct.Struct("<" + {1: "BB", 2: "BH"}[width] * len(servo_ids))
        length = 2 + 2 + self._values.size
        self._head = bytes((BROADCAST_ID, length, Instruction.SYNC_WRITE, address, width))
        self._fields = [field for servo_id in servo_ids for field in (servo_id, 0)]

    def packet(self, values: Sequence[int]) -> bytes:
        """``values`` as the register has them (no sign), in the order of the servos."""
        self._fields[1::2] = values
        body = self._head + self._values.pack(*self._fields)
        return HEADER + body + bytes((checksum(body),))


def cycle_bytes(servos: int) -> int:
    """Of one cycle: a sync write of goal_position, a sync read of present_position and its replies."""
    write = OVERHEAD + 2 + servos * (1 + 2)
    read = OVERHEAD + 2 + servos
    return write + read + servos * (OVERHEAD + 2)


def build_status(servo_id: int, error: int = 0, params: bytes = b"") -> bytes:
    return build_packet(servo_id, error, params)


def encode_sign_magnitude(value: int, sign_bit: int = 15) -> int:
    """Signed int → the servo's form: magnitude below ``sign_bit``, which is set for negative values.

    Raises ConfigError when the magnitude does not fit.
    """
    if abs(value) >= 1 << sign_bit:
        raise ConfigError(f"value {value} for a servo register", expected=f"magnitude below {1 << sign_bit}")
    return value if value >= 0 else -value | 1 << sign_bit


def decode_sign_magnitude(raw: int, sign_bit: int = 15) -> int:
    """The inverse; minus zero reads as zero. Bits above ``sign_bit`` are ignored."""
    magnitude = raw & (1 << sign_bit) - 1
    return -magnitude if raw >> sign_bit & 1 else magnitude


def decode_error(error: int) -> tuple[str, ...]:
    """Names of the set bits of a status packet's error byte, lowest first; empty when all is well."""
    if not error:
        return ()
    return tuple(ERROR_BITS.get(bit, f"error bit {bit}") for bit in range(8) if error >> bit & 1)
