"""How long CAN frames occupy the line; ceilings for seven joints, computed elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.sim.line import FrameBits, can_bits, can_duration, can_frame_bits
from wall_edge_bridge.transport.base import Frame

from tests.can_frames import frames

EIGHT = Frame(1, bytes(8))


@pytest.mark.parametrize(
    ("frame", "data_bitrate", "hertz"),
    [
        (EIGHT, None, 529),  # Damiao, ODrive
        (EIGHT._replace(extended=True), None, 446),  # RobStride
        (EIGHT._replace(fd=True, brs=True), 5_000_000, 1258),  # Damiao on CAN FD
    ],
)
def test_ceilings_of_seven_joints(frame: Frame, data_bitrate: int | None, hertz: int) -> None:
    cycle_ns = 7 * 2 * can_duration(1_000_000, data_bitrate)(frame)
    assert round(1e9 / cycle_ns) == hertz


@pytest.mark.parametrize(
    ("frame", "bits"),
    [
        # counted by hand along ISO 11898-1:2015, without stuffing
        (Frame(1, b""), FrameBits(47)),
        (EIGHT, FrameBits(111)),
        (EIGHT._replace(extended=True), FrameBits(131)),
        (EIGHT._replace(remote=True), FrameBits(47)),
        (Frame(1, b"", fd=True, brs=True), FrameBits(30, 32)),
        (Frame(1, bytes(16), fd=True, brs=True), FrameBits(30, 160)),
        (Frame(1, bytes(20), fd=True, brs=True), FrameBits(30, 5 + 160 + 32)),
        (Frame(1, bytes(64), True, True, True), FrameBits(49, 5 + 512 + 32)),
        (Frame(1, b"", fd=True), FrameBits(62)),
    ],
)
def test_bits_without_stuffing(frame: Frame, bits: FrameBits) -> None:
    assert can_bits(frame, worst=False) == bits


def stuffed(bits: str) -> int:
    """How many stuff bits a transmitter adds."""
    count, run, last = 0, 0, ""
    for bit in bits:
        run = run + 1 if bit == last else 1
        last = bit
        if run == 5:
            count, run, last = count + 1, 1, "1" if bit == "0" else "0"
    return count


@given(st.text("01", min_size=98, max_size=98) | st.text("0", min_size=98, max_size=98))
def test_no_content_has_more_stuffing_than_the_worst(bits: str) -> None:
    """Of the 98 bits of a classic frame with 8 bytes that are stuffed."""
    assert stuffed(bits) <= can_frame_bits(EIGHT) - can_frame_bits(EIGHT, worst=False)


def test_the_worst_stuffing_occurs() -> None:
    worst = "0" * 5 + "11110000" * 12
    assert stuffed(worst[:98]) == can_frame_bits(EIGHT) - can_frame_bits(EIGHT, worst=False)


@given(frames())
def test_without_a_data_bit_rate_all_goes_at_one(frame: Frame) -> None:
    bits = can_bits(frame)
    assert can_duration(500_000)(frame) == 2000 * (bits.nominal + bits.data)
    assert can_duration(500_000, 4_000_000)(frame) == 2000 * bits.nominal + 250 * bits.data
    assert can_bits(frame, worst=False).nominal <= bits.nominal
