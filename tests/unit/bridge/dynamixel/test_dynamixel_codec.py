"""Protocol 2.0 byte for byte: published vectors, CRC, stuffing, fast statuses part by part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.kinds.dynamixel import codec
from wall_edge_bridge.kinds.dynamixel.codec import BROADCAST_ID, STATUS, Packet, Status
from wall_edge_bridge.kinds.dynamixel.parser import PacketParser

from wall_edge.errors import ConfigError

VECTORS = [
    # protocols.md: made and decoded with third-party libraries
    (codec.build_ping(1), "fffffd0001030001194e"),
    (codec.build_ping(BROADCAST_ID), "fffffd00fe0300013142"),
    (codec.build_read(1, 132, 4), "fffffd0001070002840004001d15"),
    (codec.build_status(1, 0, b"\xa6\0\0\0"), "fffffd000108005500a60000008cc0"),
    (codec.build_write(1, 116, b"\0\x02\0\0"), "fffffd0001090003740000020000ca89"),
    (codec.build_sync_read(132, 4, [1, 2]), "fffffd00fe0900828400040001 02cefa"),
    (
        codec.build_sync_write(116, {1: b"\x96\0\0\0", 2: b"\xaa\0\0\0"}),
        "fffffd00fe11008374000400019600000002aa0000008287",
    ),
    (codec.build_sync_read(132, 4, [1, 2, 3], fast=True), "fffffd00fe0a008a8400040001 02031aec"),
    (codec.build_write(1, 102, b"\xff\xff\xfd\x01\x02\x03"), "fffffd00010c0003 6600fffffdfd010203 16b5"),
    # e-Manual, "DYNAMIXEL Protocol 2.0"
    (codec.build_status(1), "fffffd000104005500a10c"),
    (codec.build_status(2, 0, b"\x1f\x08\0\0"), "fffffd0002080055001f080000babe"),
    (codec.build_reg_write(1, 104, b"\xc8\0\0\0"), "fffffd00010900046800c8000000ae8e"),
    (codec.build_action(1), "fffffd000103000502ce"),
    (codec.build_reboot(1), "fffffd00010300082f4e"),
    (codec.build_clear(1), "fffffd00010800100144584c22b1dc"),
]
FAST = bytes.fromhex("fffffd00fe19005500 0134080000ee60 0002e803000015c5 0003b80b0000ef3f")
PARTS = [Status(1, 0, b"\x34\x08\0\0"), Status(2, 0, b"\xe8\x03\0\0"), Status(3, 0, b"\xb8\x0b\0\0")]


@pytest.mark.parametrize(("packet", "expected"), VECTORS)
def test_packets_are_as_published(packet: bytes, expected: str) -> None:
    assert packet == bytes.fromhex(expected)


@pytest.mark.parametrize("vector", [expected for _, expected in VECTORS])
def test_published_packets_are_parsed_in_pieces_of_any_size(vector: str) -> None:
    packet = bytes.fromhex(vector)
    [whole] = PacketParser().feed(packet)
    assert codec.build_packet(*whole) == packet
    parser = PacketParser()
    assert [each for byte in packet for each in parser.feed(bytes([byte]))] == [whole]
    assert parser.skipped_bytes == parser.pending_bytes == parser.checksum_errors == 0


def test_a_fast_status_is_as_published_with_a_crc_a_motor() -> None:
    assert codec.build_fast_status(PARTS) == FAST
    assert codec.split_fast_status(FAST, [1, 2, 3], 4) == PARTS


@pytest.mark.parametrize("end", range(len(FAST)))
def test_the_beginning_of_a_fast_status_tells_the_motors_that_are_in_it(end: int) -> None:
    assert codec.split_fast_status(FAST[:end], [1, 2, 3], 4) == PARTS[: max(0, end - 8) // 8]


@pytest.mark.parametrize("at", range(8, len(FAST)))
def test_damage_in_a_fast_status_costs_the_motor_it_is_in(at: int) -> None:
    motor, in_crc = (at - 8) // 8, (at - 8) % 8 >= 6
    for flip in range(1, 256):
        damaged = FAST[:at] + bytes([FAST[at] ^ flip]) + FAST[at + 1 :]
        lost = {motor, motor + 1} if in_crc else {motor}
        found = codec.split_fast_status(damaged, [1, 2, 3], 4)
        assert found == [part for index, part in enumerate(PARTS) if index not in lost]


def test_a_fast_status_of_other_motors_is_not_believed() -> None:
    assert codec.split_fast_status(FAST, [1, 3, 2], 4) == PARTS[:1]


def reference_crc(data: bytes) -> int:
    """Bit by bit."""
    crc = 0
    for byte in data:
        for bit in range(7, -1, -1):
            crc = crc << 1 ^ (0x8005 if (crc >> 15 ^ byte >> bit) & 1 else 0)
            crc &= 0xFFFF
    return crc


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_crc_is_the_polynomials_and_goes_on_from_any_byte(first: bytes, second: bytes) -> None:
    assert codec.crc16(first + second) == reference_crc(first + second)
    assert codec.crc16(second, codec.crc16(first)) == codec.crc16(first + second)


tricky = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x55, 0x01]), max_size=40).map(bytes)


@given(tricky | st.binary(max_size=40))
def test_whatever_is_stuffed_comes_back_and_hides_no_header(body: bytes) -> None:
    stuffed = codec.stuff(body)
    assert codec.unstuff(stuffed) == body
    assert b"\xff\xff\xfd" not in stuffed.replace(b"\xff\xff\xfd\xfd", b"\0")
    if b"\xff\xff\xfd" in body:
        assert codec.unstuff(body) != body


@given(
    st.lists(st.tuples(st.integers(0, 252), st.sampled_from([1, 3, STATUS]), st.integers(0, 255), tricky)),
    st.lists(st.integers(1, 30), min_size=1),
    tricky,
)
def test_packets_are_found_again_in_any_pieces_and_after_garbage(
    parts: list[tuple[int, int, int, bytes]], sizes: list[int], garbage: bytes
) -> None:
    packets = [Packet(motor, code, bytes([error]) + data) for motor, code, error, data in parts]
    # Garbage that looks like the beginning of a long packet rightly waits for its end.
    stream = garbage.replace(b"\xff\xff\xfd", b"") + b"".join(codec.build_packet(*each) for each in packets)
    parser, found, start, index = PacketParser(), [], 0, 0
    while start < len(stream):
        size = sizes[index % len(sizes)]
        found += parser.feed(stream[start : start + size])
        start, index = start + size, index + 1
    assert found == packets


@pytest.mark.parametrize(
    "data", [b"\xa6\0\0\0", b"\xff\xff\xfd\0\x01", b"\xff\xff\xff\xff", b"\xfd\xff\xff\xfd"]
)
def test_a_packet_with_one_byte_changed_is_never_accepted(data: bytes) -> None:
    packet = codec.build_status(1, 0, data)
    for at in range(len(packet)):
        for flip in range(1, 256):
            parser = PacketParser()
            assert parser.feed(packet[:at] + bytes([packet[at] ^ flip]) + packet[at + 1 :]) == []


@given(tricky, st.integers(0, 60), st.integers(1, 0xFFFF))
def test_a_burst_of_two_bytes_is_never_accepted(data: bytes, at: int, burst: int) -> None:
    packet = bytearray(codec.build_status(1, 0, data))
    at = 7 + at % (len(packet) - 8)  # behind the length: what that says is the test above
    packet[at] ^= burst >> 8
    packet[at + 1] ^= burst & 0xFF
    assert PacketParser().feed(bytes(packet)) == []


@given(st.binary(max_size=200))
def test_random_bytes_are_no_packets_and_no_crash(data: bytes) -> None:
    parser = PacketParser(max_params=20, fast=True)
    for packet in parser.feed(data):
        assert codec.build_packet(*packet) in data
    assert parser.skipped_bytes + parser.pending_bytes <= len(data)


def test_a_false_header_does_not_make_the_parser_wait_for_more_than_is_expected() -> None:
    parser = PacketParser(max_params=10)
    status = codec.build_status(1, 0, b"\1\2\3\4")
    assert parser.feed(b"\xff\xff\xfd\x00\x01\xf0\x00\x55" + status) == [Packet(1, STATUS, b"\0\1\2\3\4")]
    assert parser.skipped_bytes == 8


def test_a_packet_whose_sender_did_not_stuff_is_refused() -> None:
    body = bytes([STATUS, 0]) + b"\xff\xff\xfd\x07"
    packet = codec.HEADER + b"\x01" + (len(body) + 2).to_bytes(2, "little") + body
    assert PacketParser().feed(packet + codec.crc16(packet).to_bytes(2, "little")) == []


def test_what_the_format_cannot_carry_is_refused() -> None:
    for impossible in (253, 255, -1, 300):
        with pytest.raises(ConfigError, match="0 to 252"):
            codec.build_ping(impossible)
    with pytest.raises(ConfigError, match="parameter bytes"):
        codec.build_packet(1, 3, bytes(1100))
    with pytest.raises(ConfigError, match="one length"):
        codec.build_sync_write(116, {1: b"\0", 2: b"\0\0"})
    with pytest.raises(ConfigError, match="at least one"):
        codec.build_sync_write(116, {})
