"""The Feetech packet format: the manual's own examples, then every way a byte stream can arrive."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.kinds.feetech.codec import (
    Instruction,
    Request,
    Status,
    build_packet,
    build_read,
    build_status,
    build_sync_read,
    build_sync_write,
    build_write,
    decode_error,
    decode_sign_magnitude,
    encode_sign_magnitude,
)
from wall_edge_bridge.kinds.feetech.parser import RequestParser, StatusParser
from wall_edge_bridge.kinds.feetech.registers import (
    RADIANS_PER_TICK,
    STS3215,
    radians_to_ticks,
    ticks_to_radians,
)

from tests.feetech_packets import build_action, build_ping, build_reg_write, parse_request, parse_status
from wall_edge.errors import ConfigError

# The manual's examples (SMS/STS protocol, section 1.3), as printed there.
GOAL_2048_SPEED_1000 = bytes.fromhex("0008 0000 E803")
REQUESTS = {
    "FFFF010201FB": (build_ping(1), Request(1, 1, b"")),
    "FFFF0104023802BE": (build_read(1, 0x38, 2), Request(1, 2, b"\x38\x02")),
    "FFFFFE04030501F4": (build_write(0xFE, 5, b"\x01"), Request(0xFE, 3, b"\x05\x01")),
    "FFFF0109032A00080000E803D5": (
        build_write(1, 0x2A, GOAL_2048_SPEED_1000),
        Request(1, 3, b"\x2a" + GOAL_2048_SPEED_1000),
    ),
    "FFFFFE0205FA": (build_action(), Request(0xFE, 5, b"")),
    "FFFFFE20832A06 0100080000E803 0200080000E803 0300080000E803 0400080000E803 58": (
        build_sync_write(0x2A, dict.fromkeys((1, 2, 3, 4), GOAL_2048_SPEED_1000)),
        Request(
            0xFE,
            0x83,
            b"\x2a\x06" + b"".join(bytes((servo,)) + GOAL_2048_SPEED_1000 for servo in (1, 2, 3, 4)),
        ),
    ),
    "FFFFFE068238080102 36": (build_sync_read(0x38, 8, (1, 2)), Request(0xFE, 0x82, b"\x38\x08\x01\x02")),
}
STATUSES = {
    "FFFF010200FC": Status(1, 0, b""),
    "FFFF0104001805DD": Status(1, 0, b"\x18\x05"),
    "FFFF010A00 0008 0000 0000 79 1E 55": Status(1, 0, bytes.fromhex("000800000000791E")),
    "FFFF020A00 FF07 0000 0000 77 23 53": Status(2, 0, bytes.fromhex("FF07000000007723")),
}


@pytest.mark.parametrize("printed", REQUESTS)
def test_requests_are_built_and_parsed_as_the_manual_prints_them(printed: str) -> None:
    built, meaning = REQUESTS[printed]
    assert built == bytes.fromhex(printed)
    assert parse_request(built) == ([meaning], 0)


@pytest.mark.parametrize("printed", STATUSES)
def test_statuses_are_built_and_parsed_as_the_manual_prints_them(printed: str) -> None:
    status = STATUSES[printed]
    assert build_status(*status) == bytes.fromhex(printed)
    assert parse_status(bytes.fromhex(printed)) == ([status], 0)


def test_reg_write_differs_from_write_in_instruction_and_checksum_only() -> None:
    written, planned = build_write(1, 42, b"\x00\x08"), build_reg_write(1, 42, b"\x00\x08")
    assert [i for i, (a, b) in enumerate(zip(written, planned, strict=True)) if a != b] == [
        4,
        len(written) - 1,
    ]
    assert parse_request(planned)[0] == [Request(1, Instruction.REG_WRITE, b"\x2a\x00\x08")]


def test_a_cycle_of_six_servos_has_the_size_the_bus_budget_counts_on() -> None:
    ids = range(1, 7)
    assert len(build_sync_write(42, {servo: bytes(2) for servo in ids})) == 26
    assert len(build_sync_read(56, 2, ids)) + sum(len(build_status(i, 0, bytes(2))) for i in ids) == 62


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: build_ping(-1), "-1"),
        (lambda: build_ping(255), "255"),
        (lambda: build_packet(1, 3, bytes(254)), "254"),
        (lambda: build_sync_write(42, {}), "at least one"),
        (lambda: build_sync_write(42, {1: b"a", 2: b"ab"}), "one length"),
        (lambda: STS3215["goal_position"].encode(32768), "32768"),
        (lambda: STS3215["torque_enable"].encode(256), "torque_enable"),
    ],
)
def test_what_the_format_cannot_carry_is_refused_by_name(build: object, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build()  # type: ignore[operator]


STATUS = st.builds(
    Status, st.integers(0, 253), st.integers(0, 255), st.binary(max_size=40) | st.just(b"\xff\xff\x01\x02")
)
REQUEST = st.builds(Request, st.integers(0, 254), st.integers(0, 255), st.binary(max_size=40))


@given(st.lists(STATUS, max_size=6), st.lists(st.integers(1, 9), min_size=1))
def test_any_chunking_of_the_stream_gives_the_same_packets(packets: list[Status], cuts: list[int]) -> None:
    stream = b"".join(build_status(*packet) for packet in packets)
    parser, parsed, position, turn = StatusParser(), [], 0, 0
    while position < len(stream):
        size = cuts[turn % len(cuts)]
        parsed += parser.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert parsed == packets
    assert (parser.skipped_bytes, parser.pending_bytes, parser.checksum_errors) == (0, 0, 0)


@given(st.lists(REQUEST, max_size=6))
def test_requests_survive_the_round_trip_byte_by_byte(packets: list[Request]) -> None:
    parser = RequestParser()
    stream = b"".join(build_packet(*packet) for packet in packets)
    assert [packet for byte in stream for packet in parser.feed(bytes((byte,)))] == packets


@given(st.binary().map(lambda noise: noise.replace(b"\xff", b"\xfe")), STATUS, st.integers(0, 3))
def test_noise_in_front_is_skipped_and_counted(noise: bytes, packet: Status, stray: int) -> None:
    noise += b"\xff" * stray  # a run of FF shifts the header; it must not swallow the packet
    assert parse_status(noise + build_status(*packet)) == ([packet], len(noise))


@given(st.binary(max_size=200), st.integers(1, 20))
def test_every_byte_of_any_garbage_is_accounted_for_however_it_is_cut(garbage: bytes, size: int) -> None:
    whole, pieces = StatusParser(), StatusParser()
    expected = whole.feed(garbage)
    parsed = [p for i in range(0, len(garbage), size) for p in pieces.feed(garbage[i : i + size])]
    assert parsed == expected
    for parser in (whole, pieces):
        used = sum(len(build_status(*packet)) for packet in parsed)
        assert used + parser.skipped_bytes + parser.pending_bytes == len(garbage)


@given(STATUS, st.data())
def test_one_flipped_bit_never_passes_as_the_packet(packet: Status, data: st.DataObject) -> None:
    stream = bytearray(build_status(*packet))
    bit = data.draw(st.integers(0, 8 * len(stream) - 1))
    stream[bit // 8] ^= 1 << bit % 8
    assert packet not in parse_status(bytes(stream))[0]


def test_a_packet_behind_a_damaged_one_is_found() -> None:
    damaged = bytearray(build_status(1, 0, b"\x18\x05"))
    damaged[5] ^= 0x10
    parser = StatusParser()
    assert parser.feed(bytes(damaged) + build_status(2, 0, b"\x19\x05")) == [Status(2, 0, b"\x19\x05")]
    assert (parser.checksum_errors, parser.skipped_bytes) == (1, 8)


def test_a_damaged_length_does_not_swallow_the_replies_behind_it_when_the_size_is_known() -> None:
    damaged = bytearray(build_status(1, 0, b"\x18\x05"))
    damaged[3] = 0x84
    stream = bytes(damaged) + build_status(2, 0, b"\x19\x05")
    assert StatusParser().feed(stream) == []
    assert StatusParser(max_params=2).feed(stream) == [Status(2, 0, b"\x19\x05")]


@given(st.integers(1, 15), st.data())
def test_sign_magnitude_round_trip(sign_bit: int, data: st.DataObject) -> None:
    limit = (1 << sign_bit) - 1
    value = data.draw(st.integers(-limit, limit))
    assert decode_sign_magnitude(encode_sign_magnitude(value, sign_bit), sign_bit) == value


def test_sign_magnitude_is_not_twos_complement() -> None:
    assert encode_sign_magnitude(-1) == 0x8001
    assert decode_sign_magnitude(0x8000) == 0
    assert STS3215["present_position"].decode(b"\xe8\x83") == -1000
    assert STS3215["present_load"].decode(b"\x05\x04") == -5


def test_error_bits_have_names_and_unknown_ones_are_not_lost() -> None:
    assert decode_error(0) == ()
    assert decode_error(0b0010_0101) == ("voltage", "overheat", "overload")
    assert decode_error(0b0000_1010) == ("angle sensor", "overcurrent")
    assert decode_error(0b1000_0000) == ("error bit 7",)


def test_the_register_table_does_not_overlap() -> None:
    taken = [r.address + offset for r in STS3215.values() for offset in range(r.length)]
    assert len(taken) == len(set(taken))
    assert {
        name: r.address for name, r in STS3215.items() if name in ("goal_position", "present_position")
    } == {
        "goal_position": 42,
        "present_position": 56,
    }


@given(st.integers(-4096, 4096), st.integers(0, 4095), st.sampled_from([1, -1]))
def test_ticks_and_radians_are_inverse(ticks: int, zero: int, direction: int) -> None:
    radians = ticks_to_radians(ticks, zero, direction)
    assert round(float(radians_to_ticks(radians, zero, direction))) == ticks


def test_a_quarter_turn_is_1024_ticks_in_the_joints_direction() -> None:
    assert float(radians_to_ticks(math.pi / 2, 2048, 1)) == pytest.approx(3072)
    assert float(radians_to_ticks(math.pi / 2, 2048, -1)) == pytest.approx(1024)
    assert pytest.approx(2 * math.pi / 4096) == RADIANS_PER_TICK
