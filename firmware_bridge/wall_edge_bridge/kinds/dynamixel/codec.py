"""Dynamixel Protocol 2.0: pure functions from values to bytes and back, no I/O.

Source: ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0". Half-duplex serial, 8N1; numbers are little-endian.

::

    byte      0    1    2    3    4    5      6      7             8 …                        last two
            ┌────┬────┬────┬────┬────┬──────┬──────┬─────────────┬──────────────────────────┬───────────┐
    request │ FF │ FF │ FD │ 00 │ id │ len_l│ len_h│ instruction │ parameters               │ CRC-16    │
    status  │ FF │ FF │ FD │ 00 │ id │ len_l│ len_h│ 55          │ error, data              │ CRC-16    │
    fast    │ FF │ FF │ FD │ 00 │ FE │ len_l│ len_h│ 55          │ (error, id, data, CRC) … │           │
            └────┴────┴────┴────┴────┴──────┴──────┴─────────────┴──────────────────────────┴───────────┘
    id      0–252 one motor, 254 (FE) all of them
    length  bytes after it, CRC and stuffing included
    CRC     polynomial 8005, start 0, not reflected, over everything before it, low byte first
    error   bit 7: a hardware error is latched (register 70); bits 0–6: 1 result, 2 instruction, 3 CRC,
            4 data range, 5 data length, 6 data limit, 7 access

    instruction    code  parameters                                  answered by
    ping           01    –                                           each addressed: model, firmware
    read           02    address, count                              the motor: data
    write          03    address, data                               the motor
    reg write      04    address, data  (kept until "action")        the motor
    action         05    –                                           the motor; nobody when sent to FE
    factory reset  06    01 all but the id, 02 and the baud rate     the motor
    reboot         08    –                                           the motor
    clear          10    01 44 58 4C 22  (counted turns)             the motor
    sync read      82    address, count, id …                        each named motor, in that order
    sync write     83    address, count, (id, data) …                nobody
    fast sync read 8A    as sync read                                all named motors, in one packet

No header appears inside a packet: an ``FD`` is stuffed after every ``FF FF FD`` between length and CRC.
A fast status is the exception. No motor knows what the next ones will add, so it is not stuffed (the maker's
SDK removes none), and each motor's own CRC is over all that came before it, the CRCs of others included.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from wall_edge.errors import ConfigError

BROADCAST_ID = 0xFE
MAX_ID = 0xFC
STATUS = 0x55
HEADER = b"\xff\xff\xfd\x00"
OVERHEAD = 10
"""Bytes of a request that carries no parameters."""
STATUS_OVERHEAD = OVERHEAD + 1
"""Bytes of a status that carries no data."""
FAST_OVERHEAD = 8
"""Bytes of a fast status before its first motor."""
FAST_BLOCK = 4
"""Bytes a motor adds to a fast status besides its data."""
MAX_PARAMETERS = 1021 - 3
ALERT = 0x80
CLEAR_TURNS = b"\x01\x44\x58\x4c\x22"
_FORBIDDEN = b"\xff\xff\xfd"
_STUFFED = b"\xff\xff\xfd\xfd"


class Instruction(IntEnum):
    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    FACTORY_RESET = 0x06
    REBOOT = 0x08
    CLEAR = 0x10
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A


class Packet(NamedTuple):
    """``code`` is the instruction, or :data:`STATUS`; a plain int, as a newer one must still be parsed."""

    id: int
    code: int
    params: bytes
    """Without stuffing; of a status, its error byte first."""


class Status(NamedTuple):
    """What a motor answers."""

    id: int
    error: int
    data: bytes


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = value << 1 ^ 0x8005 if value & 0x8000 else value << 1
        table.append(value & 0xFFFF)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Of ``data``, after bytes whose CRC is ``start``."""
    crc, table = start, _CRC
    for byte in data:
        crc = (crc & 0xFF) << 8 ^ table[crc >> 8 ^ byte]
    return crc


def stuff(body: bytes) -> bytes:
    """From the instruction to the last parameter, so that no header appears in it."""
    return body.replace(_FORBIDDEN, _STUFFED)


def unstuff(body: bytes) -> bytes | None:
    """The inverse; None for bytes that no sender may send."""
    if _FORBIDDEN not in body:
        return body
    if body.count(_FORBIDDEN) != body.count(_STUFFED):
        return None
    return body.replace(_STUFFED, _FORBIDDEN)


def build_packet(packet_id: int, code: int, params: bytes = b"") -> bytes:
    """One packet in either direction. Raises ConfigError for what the format cannot carry."""
    if not (0 <= packet_id <= MAX_ID or packet_id == BROADCAST_ID):
        raise ConfigError(f"Dynamixel id {packet_id}", expected=f"0 to {MAX_ID}, or {BROADCAST_ID} for all")
    body = stuff(bytes((code,)) + params)
    if len(body) > MAX_PARAMETERS + 1:
        raise ConfigError(
            f"a Dynamixel packet with {len(params)} parameter bytes",
            expected=f"at most {MAX_PARAMETERS} with stuffing",
            fix="address fewer motors or registers at once",
        )
    packet = HEADER + bytes((packet_id,)) + (len(body) + 2).to_bytes(2, "little") + body
    return packet + crc16(packet).to_bytes(2, "little")


def _words(address: int, count: int) -> bytes:
    return address.to_bytes(2, "little") + count.to_bytes(2, "little")


def build_ping(motor_id: int) -> bytes:
    return build_packet(motor_id, Instruction.PING)


def build_read(motor_id: int, address: int, count: int) -> bytes:
    return build_packet(motor_id, Instruction.READ, _words(address, count))


def build_write(motor_id: int, address: int, data: bytes) -> bytes:
    return build_packet(motor_id, Instruction.WRITE, address.to_bytes(2, "little") + data)


def build_reg_write(motor_id: int, address: int, data: bytes) -> bytes:
    return build_packet(motor_id, Instruction.REG_WRITE, address.to_bytes(2, "little") + data)


def build_action(motor_id: int = BROADCAST_ID) -> bytes:
    return build_packet(motor_id, Instruction.ACTION)


def build_reboot(motor_id: int) -> bytes:
    return build_packet(motor_id, Instruction.REBOOT)


def build_clear(motor_id: int) -> bytes:
    """Forget whole turns: the present position becomes one within a turn."""
    return build_packet(motor_id, Instruction.CLEAR, CLEAR_TURNS)


def build_sync_read(address: int, count: int, ids: Sequence[int], *, fast: bool = False) -> bytes:
    """Every named motor answers ``count`` bytes from ``address``, in the order of ``ids``."""
    code = Instruction.FAST_SYNC_READ if fast else Instruction.SYNC_READ
    return build_packet(BROADCAST_ID, code, _words(address, count) + bytes(ids))


def build_sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """``data[id]`` at ``address`` of every motor; all must be equally long. Raises ConfigError."""
    widths = {len(value) for value in data.values()}
    if len(widths) != 1:
        raise ConfigError(
            f"a sync write with data of {sorted(widths)} bytes",
            expected="one length for all motors, at least one",
        )
    block = b"".join(bytes((motor_id,)) + value for motor_id, value in data.items())
    return build_packet(BROADCAST_ID, Instruction.SYNC_WRITE, _words(address, *widths) + block)


class SyncWriter:
    """Sync writes of one register of four bytes on the same motors: what a servo loop sends."""

    def __init__(self, address: int, ids: Sequence[int]) -> None:
        self._values = struct.Struct("<" + "Bi" * len(ids))
        self._code = bytes((Instruction.SYNC_WRITE,)) + _words(address, 4)
        self._fields = [field for motor_id in ids for field in (motor_id, 0)]

    def packet(self, values: Sequence[int]) -> bytes:
        """``values`` in the order of the motors. Raises ConfigError for one beyond 32 bits."""
        self._fields[1::2] = values
        try:
            body = stuff(self._code + self._values.pack(*self._fields))
        except struct.error:
            raise ConfigError(
                f"register values {list(values)}", expected="signed numbers of 32 bits"
            ) from None
        packet = HEADER + b"\xfe" + (len(body) + 2).to_bytes(2, "little") + body
        return packet + crc16(packet).to_bytes(2, "little")


def build_status(motor_id: int, error: int = 0, data: bytes = b"") -> bytes:
    return build_packet(motor_id, STATUS, bytes((error,)) + data)


def build_fast_status(statuses: Sequence[Status]) -> bytes:
    """What motors say together in answer to a fast sync read."""
    length = 1 + sum(FAST_BLOCK + len(status.data) for status in statuses)
    packet = HEADER + bytes((BROADCAST_ID,)) + length.to_bytes(2, "little") + bytes((STATUS,))
    for status in statuses:
        packet += bytes((status.error, status.id)) + status.data
        packet += crc16(packet).to_bytes(2, "little")
    return packet


def split_fast_status(packet: bytes, ids: Sequence[int], width: int) -> list[Status]:
    """The statuses in a fast status, or in what came of one: of motors ``ids``, ``width`` bytes of data each.

    A motor's part counts only if its own CRC is right and it stands where it must. Damage costs the motor
    it is in, and the next one when it is in a CRC: each CRC is checked from the one before it on.
    """
    replies = []
    start, crc = FAST_OVERHEAD, crc16(packet[:FAST_OVERHEAD])
    for motor_id in ids:
        end = start + 2 + width
        if len(packet) < end + 2:
            break
        checksum = packet[end] | packet[end + 1] << 8
        if crc16(packet[start:end], crc) == checksum and packet[start + 1] == motor_id:
            replies.append(Status(motor_id, packet[start], packet[start + 2 : end]))
        crc = crc16(packet[end : end + 2], checksum)
        start = end + 2
    return replies
