"""Logs of ``candump -L``: can-utils' own lines, python-can as a reader and a writer, any text."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_frame import ErrorFrame
from wall_edge_bridge.transport.candump import LogEntry, format_entry, parse_entry

from tests.can_frames import frames

LINES = {
    # can-utils, candump and asc2log manuals
    "(1436509052.249713) can0 044#2A366C2B": Frame(0x44, bytes.fromhex("2A366C2B")),
    "(1436509052.249713) vcan2 1F334455#1122334455667788": Frame(
        0x1F334455, bytes.fromhex("1122334455667788"), extended=True
    ),
    "(0000000000.000001) can0 123#": Frame(0x123, b""),
    "(0000000000.000001) can0 123#R": Frame(0x123, b"", remote=True),
    "(0000000000.000001) can0 123#R8": Frame(0x123, bytes(8), remote=True),
    "(0000000000.000001) can0 123##0112233": Frame(0x123, bytes.fromhex("112233"), fd=True),
    "(0000000000.000001) can0 00000123##1": Frame(0x123, b"", True, True, True),
    "(0000000000.000001) can0 20000080#0000000000000000": ErrorFrame(0x80),
}


@pytest.mark.parametrize("line", LINES)
def test_known_lines(line: str) -> None:
    entry = parse_entry(line)
    assert entry is not None
    assert entry.frame == LINES[line]
    assert format_entry(entry) == line


entries = st.builds(
    LogEntry,
    st.integers(0, 4_000_000_000 * 10**6).map(lambda micro: micro * 1000),
    st.sampled_from(["can0", "vcan1", "239.74.163.2"]),
    frames(),
)


@given(entries)
def test_an_entry_comes_back_as_it_was(entry: LogEntry) -> None:
    assert parse_entry(format_entry(entry)) == entry


@given(entries)
def test_python_can_reads_it(entry: LogEntry) -> None:
    can = pytest.importorskip("can")
    frame = entry.frame
    assert isinstance(frame, Frame)
    (message,) = can.CanutilsLogReader(io.StringIO(format_entry(entry) + "\n"))
    assert (message.arbitration_id, message.is_extended_id) == (frame.id, frame.extended)
    assert (message.is_fd, message.bitrate_switch, message.is_remote_frame) == (
        frame.fd,
        frame.brs,
        frame.remote,
    )
    assert message.dlc == len(frame.data)
    assert frame.remote or bytes(message.data) == frame.data
    assert message.timestamp == pytest.approx(entry.unix_ns / 1e9, abs=1e-6)


@given(frames().filter(lambda frame: not frame.remote))  # whose length python-can does not write
def test_python_can_writes_it(frame: Frame) -> None:
    can = pytest.importorskip("can")
    text = io.StringIO()
    can.CanutilsLogWriter(text, channel="can0").on_message_received(
        can.Message(
            timestamp=12.5,
            arbitration_id=frame.id,
            is_extended_id=frame.extended,
            data=frame.data,
            is_fd=frame.fd,
            bitrate_switch=frame.brs,
        )
    )
    assert parse_entry(text.getvalue()) == LogEntry(12_500_000_000, "can0", frame)


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"\([0-9]{3}\.[0-9]{6}\) can0 [0-9A-F]{3,8}#[#R0-9A-F]{0,20}", fullmatch=True),
    )
)
def test_any_text_is_an_entry_that_is_written_the_same_or_none(line: str) -> None:
    entry = parse_entry(line)
    if entry is not None:
        assert parse_entry(format_entry(entry)) == entry


@pytest.mark.parametrize(
    "line",
    [
        "(1.5) can0 123#00",
        "(1.000000) can0 12#00",
        "(1.000000) can0 123#0",
        "(1.000000) can0 123#112233445566778899",
        "(1.000000) can0 123#R9",
        "(1.000000) can0 800#00",
        "(1.000000) can0 FFFFFFFF#00",
        "(1.000000) can0 123##2112233445566778899",
        "(1.000000) can 0 123#00",
        "(1.000000) can0 123#00 x",
    ],
)
def test_damaged_lines_are_none(line: str) -> None:
    assert parse_entry(line) is None


def test_a_channel_with_spaces_stays_one_word() -> None:
    assert format_entry(LogEntry(0, "my bus", Frame(1, b""))) == "(0000000000.000000) my_bus 001#"
