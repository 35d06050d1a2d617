"""Linux's CAN structs, compared with python-can's own reading of them, and held against any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_frame import (
    CLASSIC_SIZE,
    FD_SIZE,
    ErrorFrame,
    pack_error,
    pack_frame,
    unpack_frame,
)

from tests.can_frames import frames
from wall_edge.errors import BusError


def test_vectors() -> None:
    """By hand from ``linux/can.h``, little-endian."""
    assert pack_frame(Frame(0x123, b"\xde\xad")).hex() == "2301000002000000dead000000000000"
    extended = "01fd008008000000" + "0102030405060708"
    assert pack_frame(Frame(0xFD01, bytes(range(1, 9)), extended=True)).hex() == extended
    fd = pack_frame(Frame(1, bytes(range(12)), fd=True, brs=True)).hex()
    assert fd == "010000000c050000" + bytes(range(12)).hex() + "00" * 52
    assert pack_frame(Frame(5, bytes(4), remote=True)).hex() == "0500004004000000" + "00" * 8
    assert pack_error(ErrorFrame(0x40)).hex() == "4000002008000000" + "00" * 8


@given(frames(), st.integers(0, 2**62))
def test_a_frame_comes_back_as_it_was(frame: Frame, now_ns: int) -> None:
    assert unpack_frame(pack_frame(frame), now_ns) == frame._replace(received_ns=now_ns)


@given(frames())
def test_python_can_reads_and_writes_the_same(frame: Frame) -> None:
    can = pytest.importorskip("can")
    socketcan = pytest.importorskip("can.interfaces.socketcan.socketcan")
    word, length, flags, data = socketcan.dissect_can_frame(pack_frame(frame))
    assert word == frame.id | frame.extended << 31 | frame.remote << 30
    assert (length, bytes(data)[:length]) == (len(frame.data), frame.data)
    assert bool(flags & 1) == frame.brs
    message = can.Message(
        arbitration_id=frame.id,
        is_extended_id=frame.extended,
        is_remote_frame=frame.remote,
        dlc=len(frame.data),
        data=None if frame.remote else frame.data,
        is_fd=frame.fd,
        bitrate_switch=frame.brs,
    )
    assert unpack_frame(socketcan.build_can_frame(message)) == frame


@given(st.integers(0, 0x1FFFFFFF), st.binary(min_size=8, max_size=8))
def test_an_error_frame_comes_back_as_it_was(classes: int, data: bytes) -> None:
    assert unpack_frame(pack_error(ErrorFrame(classes, data))) == ErrorFrame(classes, data)


packets = st.one_of(
    st.binary(max_size=80),
    st.binary(min_size=CLASSIC_SIZE, max_size=CLASSIC_SIZE),
    st.binary(min_size=FD_SIZE, max_size=FD_SIZE),
)


@given(packets)
def test_any_bytes_are_a_frame_that_can_be_sent_again_or_none(packet: bytes) -> None:
    frame = unpack_frame(packet)
    if isinstance(frame, Frame):
        again = pack_frame(frame)
        assert len(again) == len(packet)
        assert unpack_frame(again) == frame
    else:
        assert frame is None or len(packet) == CLASSIC_SIZE


@given(frames(), st.integers(0, FD_SIZE - 1), st.integers(0, 255))
def test_a_damaged_length_or_flag_is_no_other_frame(frame: Frame, place: int, value: int) -> None:
    packet = bytearray(pack_frame(frame))
    packet[place % len(packet)] = value
    got = unpack_frame(bytes(packet))
    if isinstance(got, Frame):
        assert pack_frame(got)[4] == packet[4]


@pytest.mark.parametrize(
    "frame",
    [
        Frame(0x800, b""),
        Frame(-1, b""),
        Frame(0x20000000, b"", extended=True),
        Frame(1, bytes(9)),
        Frame(1, bytes(9), fd=True),
        Frame(1, bytes(65), fd=True),
        Frame(1, b"", fd=True, remote=True),
        Frame(1, b"", brs=True),
    ],
)
def test_what_no_bus_carries_is_refused(frame: Frame) -> None:
    with pytest.raises(BusError, match="expected"):
        pack_frame(frame)
