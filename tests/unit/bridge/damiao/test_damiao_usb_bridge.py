"""Damiao's USB bridge: its bytes, and how the parser finds packets again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.drives import Setpoints
from wall_edge_bridge.kinds.damiao import KIND
from wall_edge_bridge.kinds.damiao.twin import BridgeTwin
from wall_edge_bridge.kinds.damiao.usb_bridge import (
    ArrivedParser,
    UsbBridge,
    pack_arrived,
    pack_sent,
    parse_sent,
)
from wall_edge_bridge.sim import VirtualClock, serving_port, wire_to
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.opening import open_wire

from tests.drive_cases.damiao import JOINTS, VARIANTS
from wall_edge.errors import BusError, BusTimeout

ENABLE_3 = Frame(3, bytes.fromhex("fffffffffffffffc"))
FEEDBACK = Frame(0x11, bytes.fromhex("1183277ff7ff0000"))
SETTINGS = VARIANTS["bridge"].settings


def parse(pieces: Iterable[bytes]) -> tuple[list[Frame], ArrivedParser]:
    parser = ArrivedParser()
    return [frame for piece in pieces for frame in parser.feed(piece, 0)], parser


def test_packets_byte_for_byte() -> None:
    sent = "55aa1e03 01000000 0a000000 00 03000000 00 08 0000 fffffffffffffffc 00"
    assert pack_sent(ENABLE_3) == bytes.fromhex(sent)
    assert parse_sent(bytes.fromhex(sent)) == ENABLE_3
    arrived = "aa 11 08 11000000 1183277ff7ff0000 55"
    assert pack_arrived(FEEDBACK) == bytes.fromhex(arrived)
    assert parse([bytes.fromhex(arrived)])[0] == [FEEDBACK]


def test_can_fd_is_refused() -> None:
    with pytest.raises(BusError, match="no CAN FD"):
        pack_sent(ENABLE_3._replace(fd=True))


frames = st.one_of(
    st.tuples(st.integers(0, 0x7FF), st.binary(max_size=8)).map(lambda parts: Frame(*parts)),
    st.tuples(st.integers(0, 0x1FFFFFFF), st.binary(max_size=8)).map(
        lambda parts: Frame(*parts, extended=True)
    ),
)


@given(frames)
def test_every_frame_passes_both_ways(frame: Frame) -> None:
    assert parse_sent(pack_sent(frame)) == frame
    assert parse([pack_arrived(frame)])[0] == [frame]


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_packets_in_pieces_of_any_size(several: list[Frame], sizes: list[int]) -> None:
    data, pieces = b"".join(map(pack_arrived, several)), []
    for size in sizes * 130:
        pieces.append(data[:size])
        data = data[size:]
    found, parser = parse(pieces)
    assert found == several
    assert parser.skipped_bytes == parser.resyncs == 0


@given(st.binary(max_size=60).filter(lambda noise: b"\xaa" not in noise))
def test_noise_between_packets_costs_nothing_but_itself(noise: bytes) -> None:
    packet = pack_arrived(FEEDBACK)
    found, parser = parse([packet + noise + packet + packet])
    assert found == [FEEDBACK] * 3
    assert parser.skipped_bytes == len(noise)
    assert parser.resyncs == bool(noise)


@pytest.mark.parametrize("lost", range(16))
def test_a_lost_byte_costs_its_packet_alone(lost: int) -> None:
    packet = pack_arrived(FEEDBACK)
    found, parser = parse([packet, packet[:lost] + packet[lost + 1 :], packet, packet])
    assert found == [FEEDBACK] * 3
    assert (parser.resyncs, parser.skipped_bytes) == (1, 15)


@pytest.mark.parametrize(
    ("at", "value"), [(0, 0xAB), (1, 0x10), (2, 9), (3 + 1, 8), (3 + 2, 1), (15, 0x54), (2, 7)]
)
def test_a_packet_that_cannot_be_is_not_believed(at: int, value: int) -> None:
    packet = bytearray(pack_arrived(FEEDBACK._replace(data=b"\1" * 8)))
    packet[at] = value
    found, parser = parse([bytes(packet), pack_arrived(FEEDBACK)])
    assert found == [FEEDBACK]
    assert parser.skipped_bytes == 16


def test_what_the_bridge_says_of_frames_that_failed_is_counted() -> None:
    report = b"\xaa\x02\x08" + bytes(12) + b"\x55"
    found, parser = parse([report, pack_arrived(FEEDBACK), b"\xaa\x12\x08" + bytes(12) + b"\x55"])
    assert found == [FEEDBACK]
    assert (parser.reports, parser.resyncs) == (1, 0)


@given(st.binary(max_size=400))
def test_any_bytes_are_survived_and_do_not_pile_up(data: bytes) -> None:
    parser = ArrivedParser()
    parser.feed(data, 0)
    parser.feed(b"\0" * 64, 0)
    assert parser.feed(pack_arrived(FEEDBACK), 5) == [FEEDBACK._replace(received_ns=5)]


@given(st.binary(max_size=400))
def test_the_twin_survives_any_bytes_and_hears_the_next_packet(data: bytes) -> None:
    twin = BridgeTwin(SETTINGS, JOINTS, np.zeros(6))
    twin.handle(data.replace(b"\x55\xaa\x1e\x03", b""), 0)
    # A packet that began in the noise takes the first of these with it.
    assert len(twin.handle(pack_sent(ENABLE_3) * 2, 1)) >= 16


def test_a_twin_at_another_speed_hears_nothing() -> None:
    twin = BridgeTwin(SETTINGS, JOINTS, np.zeros(6))
    assert twin.handle(pack_sent(ENABLE_3), 0, 115_200) == b""
    assert not any(twin.powered(0))
    assert len(twin.handle(pack_sent(ENABLE_3), 1, 921_600)) == 16
    assert twin.powered(1) == (False, False, True, False, False, False)


def test_noise_on_the_line_is_counted_by_the_drive() -> None:
    clock = VirtualClock()
    twin = KIND.make_twin(SETTINGS, JOINTS, np.zeros(6), timed=False)
    drive = KIND.open_drive(SETTINGS, JOINTS, wire_to(twin, clock, clock.sleep), clock=clock)
    drive.connect()
    twin.replies.change(lambda data: b"noise" + data)
    drive.cycle(None, clock() + 10_000_000)
    assert drive.counters.checksum_errors == 1
    assert drive.counters.timeouts == 0


def test_a_drive_operates_its_twin_over_a_real_port() -> None:
    with serving_port(KIND.make_twin(SETTINGS, JOINTS, np.full(6, 0.2), timed=False)) as port:
        # A busy machine may stall for two seconds.
        settings = replace(SETTINGS.at(port.path), timeout_ms=1000)
        assert settings.place == port.path
        assert settings.interface == "damiao-usb"
        wire = open_wire(settings)
        with KIND.open_drive(settings, JOINTS, wire, clock=time.monotonic_ns) as drive:
            drive.check()
            assert drive.arm_watchdog(2.5) == 2.5
            drive.enable()
            for _ in range(5):
                feedback = drive.cycle(Setpoints.hold(np.full(6, 0.2)), time.monotonic_ns() + 10**10)
            drive.disable()
        np.testing.assert_allclose(feedback.position, 0.2, atol=0.01)
        assert "Damiao's USB bridge" in UsbBridge(wire, time.monotonic_ns).description  # type: ignore[arg-type]


def test_a_silent_bridge_is_told_by_its_port() -> None:
    clock = VirtualClock()
    twin = KIND.make_twin(SETTINGS, JOINTS, np.zeros(6), timed=False)
    for index in range(6):
        twin.silence(index)
    drive = KIND.open_drive(SETTINGS, JOINTS, wire_to(twin, clock, clock.sleep), clock=clock)
    with pytest.raises(BusTimeout, match=r"shoulder_pan \(id 1\).*USB bridge at simulated bus"):
        drive.connect()
