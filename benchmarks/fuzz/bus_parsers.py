"""The parsers of buses, each with what an honest sender says, and a judge that needs no checksum of theirs.

A judge raises AssertionError for a packet that was believed and is not in the stream with a right checksum,
for bytes that were lost count of, and for a stream that reads otherwise in pieces.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wall_edge_bridge.kinds.damiao.usb_bridge import ArrivedParser, pack_arrived, pack_sent, parse_sent
from wall_edge_bridge.kinds.dynamixel import codec as dynamixel
from wall_edge_bridge.kinds.dynamixel.parser import PacketParser
from wall_edge_bridge.kinds.feetech import codec as feetech
from wall_edge_bridge.kinds.feetech.parser import RequestParser, StatusParser
from wall_edge_bridge.transport import Frame
from wall_edge_bridge.transport.can_errors import HealthRecord, described
from wall_edge_bridge.transport.can_frame import FD_LENGTHS, ErrorFrame, pack_error, pack_frame, unpack_frame
from wall_edge_bridge.transport.candump import LogEntry, format_entry, parse_entry
from wall_edge_bridge.transport.slcan_text import LineReader, decode_frame, encode_frame

Packets = list[bytes]


@dataclass(frozen=True)
class Parser:
    """``packet`` makes a valid one; ``judge`` reads a stream made of ``sent`` and says how many it believed,
    and how many of those nobody sent: what a checksum lets through."""

    name: str
    share: int
    packet: Callable[[random.Random], bytes]
    judge: Callable[[bytes, Packets, random.Random], tuple[int, int]]
    stream: bool = True
    """Whether several packets come behind one another."""


def frame(rng: random.Random) -> Frame:
    """Any that a bus can carry."""
    extended = rng.random() < 0.5
    identifier = rng.getrandbits(29 if extended else 11)
    if rng.random() < 0.4:
        return Frame(identifier, rng.randbytes(rng.choice(FD_LENGTHS)), extended, True, rng.random() < 0.5)
    remote = rng.random() < 0.1
    length = rng.randint(0, 8)
    return Frame(identifier, bytes(length) if remote else rng.randbytes(length), extended, remote=remote)


def classic(rng: random.Random) -> Frame:
    """Any with 8 bytes at most."""
    extended = rng.random() < 0.5
    return Frame(rng.getrandbits(29 if extended else 11), rng.randbytes(rng.randint(0, 8)), extended)


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """``data`` cut anywhere."""
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(0, 4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def in_order(stream: bytes, packets: Sequence[bytes]) -> None:
    """Each lies in the stream, behind the one before it."""
    at = 0
    for packet in packets:
        at = stream.find(packet, at)
        assert at >= 0, f"{packet.hex()} was believed, and is not in the stream"
        at += len(packet)


def strangers(packets: Sequence[bytes], sent: Packets) -> int:
    return sum(packet not in sent for packet in packets)


# --- serial protocols --------------------------------------------------------------------------------------


def _feetech(parser: Any, stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    whole, split = parser(), parser()
    packets = whole.feed(stream)
    assert packets == [each for piece in pieces(rng, stream) for each in split.feed(piece)]
    raw = []
    for motor, code, params in packets:
        body = bytes((motor, len(params) + 2, code)) + params
        raw.append(b"\xff\xff" + body + bytes([255 - sum(body) % 256]))
    in_order(stream, raw)
    assert sum(map(len, raw)) + whole.skipped_bytes + whole.pending_bytes == len(stream)
    return len(raw), strangers(raw, sent)


def _reversed_crc(data: bytes) -> bytes:
    """CRC-16 with 0x8005, bit by bit: another way than the codec's table."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc.to_bytes(2, "little")


def _dynamixel(stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    whole, split = PacketParser(), PacketParser()
    packets = whole.feed(stream)
    assert packets == [each for piece in pieces(rng, stream) for each in split.feed(piece)]
    raw = []
    for motor, code, params in packets:
        body = (bytes([code]) + params).replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
        head = b"\xff\xff\xfd\0" + bytes([motor]) + (len(body) + 2).to_bytes(2, "little") + body
        raw.append(head + _reversed_crc(head))
    in_order(stream, raw)
    assert sum(map(len, raw)) + whole.skipped_bytes + whole.pending_bytes <= len(stream)
    return len(raw), strangers(raw, sent)


_IDS, _WIDTH = (1, 2, 3), 4


def _fast_packet(rng: random.Random) -> bytes:
    parts = [dynamixel.Status(each, rng.getrandbits(8), rng.randbytes(_WIDTH)) for each in _IDS]
    return dynamixel.build_fast_status(parts)


def _fast(stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    del rng
    parts = dynamixel.split_fast_status(stream, _IDS, _WIDTH)
    assert len({part.id for part in parts}) == len(parts)
    true = {part for packet in sent for part in dynamixel.split_fast_status(packet, _IDS, _WIDTH)}
    return len(parts), sum(part not in true for part in parts)


def _bridge(stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    whole, split = ArrivedParser(), ArrivedParser()
    frames = whole.feed(stream, 0)
    assert frames == [each for piece in pieces(rng, stream) for each in split.feed(piece, 0)]
    raw = [pack_arrived(each) for each in frames]
    in_order(stream, raw)
    return len(raw), strangers(raw, sent)


def _to_bridge(stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    del rng
    if len(stream) != 30:
        return 0, 0
    said = parse_sent(stream)
    if said is None:
        return 0, 0
    return 1, strangers([pack_sent(said)], sent)


# --- CAN ---------------------------------------------------------------------------------------------------


def _slcan(stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    whole, split = LineReader(), LineReader()
    lines = whole.feed(stream)
    assert lines == [line for piece in pieces(rng, stream) for line in split.feed(piece)]
    frames = [each for line in lines if (each := decode_frame(line.rstrip(b"\r"))) is not None]
    again = [encode_frame(each) for each in frames]
    assert [decode_frame(line[:-1]) for line in again] == frames
    in_order(stream.upper(), [line[:-1].upper() for line in again])
    return len(again), strangers(again, sent)


def _candump(stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    del rng
    text = stream.decode("utf-8", "replace")
    entry = parse_entry(text)
    if entry is None:
        return 0, 0
    assert parse_entry(format_entry(entry)) == entry
    return 1, strangers([format_entry(entry).encode()], sent)


def _log_line(rng: random.Random) -> bytes:
    said = frame(rng) if rng.random() < 0.9 else ErrorFrame(rng.getrandbits(29), rng.randbytes(8))
    unix_ns = rng.randrange(10**10) * 10**9 + rng.randrange(10**6) * 1000
    return format_entry(LogEntry(unix_ns, "can0", said)).encode()


def _socket(stream: bytes, sent: Packets, rng: random.Random) -> tuple[int, int]:
    del rng
    said = unpack_frame(stream)
    if said is None:
        return 0, 0
    if isinstance(said, ErrorFrame):
        record = HealthRecord()
        record.take(said)
        assert described(said)
        assert unpack_frame(pack_error(said)) == said
    else:
        assert unpack_frame(pack_frame(said)) == said
    return 1, stream not in sent


def _socket_packet(rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return pack_error(ErrorFrame(rng.getrandbits(29), rng.randbytes(8)))
    return pack_frame(frame(rng))


def _dynamixel_packet(rng: random.Random) -> bytes:
    data = rng.randbytes(rng.randint(0, 12))
    if rng.random() < 0.2:
        data += b"\xff\xff\xfd" + data[:2]
    if rng.random() < 0.2:
        return dynamixel.build_write(rng.randint(0, 252), rng.randrange(300), data)
    return dynamixel.build_status(rng.randint(0, 252), rng.getrandbits(8), data)


def _feetech_packet(rng: random.Random) -> bytes:
    return feetech.build_packet(rng.randint(0, 253), rng.getrandbits(8), rng.randbytes(rng.randint(0, 12)))


PARSERS = (
    Parser("feetech status", 4, _feetech_packet, lambda s, t, r: _feetech(StatusParser, s, t, r)),
    Parser("feetech request", 2, _feetech_packet, lambda s, t, r: _feetech(RequestParser, s, t, r)),
    Parser("dynamixel", 4, _dynamixel_packet, _dynamixel),
    Parser("dynamixel fast", 2, _fast_packet, _fast, stream=False),
    Parser("damiao bridge", 3, lambda rng: pack_arrived(classic(rng)), _bridge),
    Parser("damiao to bridge", 1, lambda rng: pack_sent(classic(rng)), _to_bridge, stream=False),
    Parser("slcan", 4, lambda rng: encode_frame(frame(rng)), _slcan),
    Parser("candump", 2, _log_line, _candump, stream=False),
    Parser("CAN socket", 4, _socket_packet, _socket, stream=False),
)
