"""slcan adapters: the text, the transport and the simulated adapter, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.sim.slcan import SlcanAdapter
from wall_edge_bridge.sim.wires import ByteWire, VirtualClock
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_frame import pack_frame
from wall_edge_bridge.transport.slcan import SlcanTransport
from wall_edge_bridge.transport.slcan_text import LONGEST, LineReader, decode_frame, encode_frame

from tests.can_frames import frames
from tests.doubles.echo_motors import EchoTwin
from wall_edge.errors import BusError

VECTORS = {
    # Lawicel's CAN232 manual; CANable 2.0's README
    "t10021133": Frame(0x100, b"\x11\x33"),
    "t0200": Frame(0x20, b""),
    "r1002": Frame(0x100, bytes(2), remote=True),
    "T0000010021133": Frame(0x100, b"\x11\x33", extended=True),
    "R000001002": Frame(0x100, bytes(2), extended=True, remote=True),
    "d10021133": Frame(0x100, b"\x11\x33", fd=True),
    "B000001009" + "0A" * 12: Frame(0x100, b"\x0a" * 12, True, True, True),
}


@pytest.mark.parametrize("line", VECTORS)
def test_vectors(line: str) -> None:
    assert decode_frame(line.encode()) == VECTORS[line]
    assert encode_frame(VECTORS[line]) == line.encode() + b"\r"


@given(frames())
def test_a_frame_comes_back_as_it_was(frame: Frame) -> None:
    line = encode_frame(frame)
    assert len(line) <= LONGEST + 1
    assert decode_frame(line[:-1]) == frame


@given(frames())
def test_a_time_stamp_at_the_end_is_none_of_the_data(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)[:-1] + b"1A2B") == frame


@given(frames(), st.data())
def test_a_line_that_lost_or_gained_characters_is_no_frame(frame: Frame, data: st.DataObject) -> None:
    line = encode_frame(frame)[:-1]
    cut = line[: data.draw(st.integers(0, len(line) - 1))]
    assert decode_frame(cut) is None or decode_frame(cut + b"?") is None
    assert decode_frame(line + b"0") is None
    place = data.draw(st.integers(0, len(line) - 1))
    assert decode_frame(line[:place] + b"_" + line[place + 1 :]) is None


@given(st.binary(max_size=200) | st.from_regex(rb"[trdbTRDB][0-9A-F]{3,30}", fullmatch=True))
def test_any_line_is_a_frame_that_can_be_sent_or_none(line: bytes) -> None:
    frame = decode_frame(line)
    if frame is not None:
        assert len(pack_frame(frame)) in (16, 72)


@given(st.lists(frames(), max_size=5), st.binary(max_size=40), st.lists(st.integers(1, 50)))
def test_pieces_of_any_size_after_any_noise(sent: list[Frame], noise: bytes, sizes: list[int]) -> None:
    stream = noise + b"\r" + b"".join(map(encode_frame, sent))
    reader, got = LineReader(), []
    for size in [*sizes, len(stream)]:
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert [decode_frame(line[:-1]) for line in got[len(got) - len(sent) :]] == sent


def test_a_stream_without_ends_takes_no_memory() -> None:
    reader = LineReader()
    for _ in range(1000):
        reader.feed(b"x" * 1000)
    assert reader.feed(b"\rt0200\r") == [b"t0200\r"]
    assert reader.damaged == 1


# --- the transport -----------------------------------------------------------------------------------------


class Port(ByteWire):
    """An adapter in virtual time, that can say more than it should."""

    def __init__(self, adapter: SlcanAdapter, clock: VirtualClock) -> None:
        super().__init__(adapter, clock, clock.sleep)
        self.closed = False

    def say(self, data: bytes) -> None:
        self._input += data

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def adapter() -> SlcanAdapter:
    return SlcanAdapter(EchoTwin(), 1_000_000, 5_000_000)


@pytest.fixture
def port(adapter: SlcanAdapter, clock: VirtualClock) -> Port:
    return Port(adapter, clock)


@pytest.fixture
def wire(port: Port, clock: VirtualClock) -> SlcanTransport:
    return SlcanTransport(port, 1_000_000, 5_000_000, clock)


FRAME = Frame(0x10, b"\1\2")


def test_a_frame_and_its_reply(wire: SlcanTransport, clock: VirtualClock) -> None:
    wire.send([FRAME], clock() + 10**9)
    (reply,) = wire.receive(clock() + 10**9)
    assert reply == EchoTwin.reply(FRAME)._replace(received_ns=clock())


def test_damaged_lines_are_counted_and_the_next_frame_is_whole(
    wire: SlcanTransport, port: Port, clock: VirtualClock
) -> None:
    port.say(b"t01\r" + b"t0112AABB"[:-1] + b"\r" + b"\x80\xff\r" + b"t0112AABB\r")
    frames = wire.receive(clock())
    assert [frame.data for frame in frames] == [b"\xaa\xbb"]
    assert wire.health().error_frames == 3


def test_what_the_adapter_refuses_is_counted(wire: SlcanTransport, port: Port, clock: VirtualClock) -> None:
    port.say(b"\a\az\r")
    assert wire.receive(clock() + 1_000_000) == []
    assert wire.health().full == 2
    assert wire.health().state == "unknown"


def test_closing_closes_the_channel_too(wire: SlcanTransport, port: Port, adapter: SlcanAdapter) -> None:
    assert adapter.is_open
    wire.close()
    assert not adapter.is_open
    assert port.closed


def test_a_channel_that_another_program_left_open_is_set_up_anew(
    wire: SlcanTransport, port: Port, clock: VirtualClock, adapter: SlcanAdapter
) -> None:
    port.say(b"t0112AABB\rt01")
    again = SlcanTransport(port, 1_000_000, 5_000_000, clock)
    again.send([FRAME], clock())
    assert [frame.id for frame in again.receive(clock() + 1_000_000)] == [0x11]
    assert adapter.is_open
    assert wire.description == again.description


@pytest.mark.parametrize("rates", [(123_456, None), (1_000_000, 3_000_000)])
def test_a_bit_rate_that_adapters_do_not_know_is_refused(
    rates: tuple[int, int | None], port: Port, clock: VirtualClock, adapter: SlcanAdapter
) -> None:
    with pytest.raises(BusError, match=r"does not take a .*bit rate of"):
        SlcanTransport(port, *rates, clock)
    assert not adapter.is_open


class OldAdapter(SlcanAdapter):
    """It knows no CAN FD."""

    def _set_up(self, command: bytes) -> bool:
        return not command.startswith(b"Y") and super()._set_up(command)


def test_an_adapter_without_can_fd_says_so(clock: VirtualClock) -> None:
    port = Port(OldAdapter(EchoTwin()), clock)
    with pytest.raises(BusError, match="does not take a data bit rate of 5000000"):
        SlcanTransport(port, 1_000_000, 5_000_000, clock)


def test_at_another_bit_rate_nobody_answers(clock: VirtualClock, port: Port) -> None:
    wire = SlcanTransport(port, 500_000, 5_000_000, clock)
    wire.send([FRAME], clock())
    assert wire.receive(clock() + 1_000_000) == []


class MuteAdapter(SlcanAdapter):
    """As some firmware: it answers nothing."""

    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:
        replies = super().handle(data, now_ns, baud)
        return b"".join(line + b"\r" for line in replies.split(b"\r") if line[:1] == b"t")


def test_an_adapter_that_answers_no_command_is_used(clock: VirtualClock) -> None:
    wire = SlcanTransport(Port(MuteAdapter(EchoTwin()), clock), 1_000_000, None, clock)
    wire.send([FRAME], clock())
    assert [frame.id for frame in wire.receive(clock() + 1_000_000)] == [0x11]


def test_the_simulated_adapter_is_strict() -> None:
    adapter = SlcanAdapter(EchoTwin())
    for line in (
        b"t0102AABB\r",
        b"O\r",
        b"S9\r",
        b"X\r",
        b"S8\rO\rS8\r",
        b"t01\r",
        b"C\rC\r",
        b"S8\rL\rt0100\r",
    ):
        assert adapter.handle(line, 0)[-1:] == b"\a", line
    assert adapter.handle(b"V\r", 0) == b"V1013\r"
