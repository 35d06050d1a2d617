"""Damiao's USB-to-CAN bridge: CAN frames over a serial line, in a framing without a checksum.

To the bus: 30 bytes, ``55 aa 1e 03``, once (u32), interval (u32), 29-bit?, id (u32), remote?, length, two
zeros, 8 bytes of data, 0. From the bus: 16 bytes, ``aa``, command (0x11 = a frame arrived), length, id (u32),
8 bytes of data, ``55``. All little-endian.
Source: Damiao's DM_Control examples and motorbridge 0.5.6, which agree.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import cast

from wall_edge.errors import BusError
from wall_edge_bridge.kinds.damiao.settings import DamiaoSettings
from wall_edge_bridge.transport import BusHealth, ByteTransport, Frame, FrameTransport, Wire

_SENT = struct.Struct("<4sIIBIBBH8sB")
_ARRIVED = struct.Struct("<BBBI8sB")
HEAD = b"\x55\xaa\x1e\x03"
_INTERVAL = 10
_START, _END = 0xAA, 0x55
_FRAME_ARRIVED = 0x11
_REPORTS = frozenset((0x01, 0x02, 0xEE))
"""What the bridge says of a frame that did not arrive, could not be sent, or that it did not understand."""
_SILENT_REPORTS = frozenset((0x00, 0x12, 0x03, 0x13))
_CHUNK = 4096


def pack_sent(frame: Frame) -> bytes:
    """30 bytes. Raises BusError for a frame that the bridge cannot send."""
    if frame.fd or len(frame.data) > 8:
        raise BusError("a CAN FD frame", expected="classic CAN: Damiao's USB bridge has no CAN FD")
    data = frame.data.ljust(8, b"\0")
    return _SENT.pack(HEAD, 1, _INTERVAL, frame.extended, frame.id, frame.remote, len(frame.data), 0, data, 0)


def parse_sent(packet: bytes) -> Frame | None:
    """As the bridge understands 30 bytes; None where it does not."""
    head, count, _, extended, identifier, remote, length, _, data, _ = _SENT.unpack(packet)
    if head != HEAD or count < 1 or extended > 1 or remote > 1 or length > 8:
        return None
    if identifier > (0x1FFFFFFF if extended else 0x7FF):
        return None
    return Frame(identifier, data[:length], bool(extended), remote=bool(remote))


def pack_arrived(frame: Frame) -> bytes:
    """16 bytes, as the bridge says it."""
    flags = len(frame.data) | frame.extended << 6 | frame.remote << 7
    return _ARRIVED.pack(_START, _FRAME_ARRIVED, flags, frame.id, frame.data.ljust(8, b"\0"), _END)


class ArrivedParser:
    """Finds packets in bytes of any pieces.

    There is no checksum: a packet counts when its ends, its command, its length and its identifier are
    possible, and its unused data are 0. After anything else the search goes on one byte later.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.skipped_bytes = self.resyncs = self.reports = 0

    def feed(self, data: bytes, received_ns: int) -> list[Frame]:
        """The frames that are complete now."""
        rest = self._bytes
        rest += data
        frames, at, in_step = [], 0, True
        while len(rest) - at >= _ARRIVED.size:
            packet = rest[at : at + _ARRIVED.size]
            size = _ARRIVED.size
            if frame := _parse_arrived(packet, received_ns):
                frames.append(frame)
                in_step = True
            elif _is_report(packet):
                self.reports += packet[1] in _REPORTS
            else:
                self.resyncs += in_step
                in_step = False
                start = rest.find(_START, at + 1)
                size = (len(rest) if start < 0 else start) - at
                self.skipped_bytes += size
            at += size
        del rest[:at]
        return frames


def _parse_arrived(packet: bytes | bytearray, received_ns: int) -> Frame | None:
    start, command, flags, identifier, data, end = _ARRIVED.unpack(packet)
    length, extended = flags & 0x3F, bool(flags & 0x40)
    if start != _START or end != _END or command != _FRAME_ARRIVED or length > 8 or any(data[length:]):
        return None
    if identifier > (0x1FFFFFFF if extended else 0x7FF):
        return None
    return Frame(
        identifier, bytes(data[:length]), extended, received_ns=received_ns, remote=bool(flags & 0x80)
    )


def _is_report(packet: bytes | bytearray) -> bool:
    report = packet[1] in _REPORTS or packet[1] in _SILENT_REPORTS
    return packet[0] == _START and packet[15] == _END and report


class UsbBridge:
    """A ``FrameTransport`` over a serial port; ``clock`` is CLOCK_MONOTONIC ns."""

    def __init__(self, port: ByteTransport, clock: Callable[[], int]) -> None:
        self._port, self._clock = port, clock
        self._parser = ArrivedParser()

    @property
    def description(self) -> str:
        return f"Damiao's USB bridge at {self._port.description}"

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:
        self._port.send(b"".join(map(pack_sent, frames)), deadline_ns)

    def receive(self, deadline_ns: int) -> list[Frame]:
        while True:
            data = self._port.receive(_CHUNK, deadline_ns)
            frames = self._parser.feed(data, self._clock())
            if frames or not data or self._clock() >= deadline_ns:  # noise may never stop
                return frames

    def health(self) -> BusHealth:
        """Its reports of failed frames, and places where bytes were skipped, are its error frames."""
        return BusHealth(error_frames=self._parser.reports + self._parser.resyncs, state="unknown")

    def close(self) -> None:
        self._port.close()


def frames_over(settings: DamiaoSettings, wire: Wire, clock: Callable[[], int]) -> FrameTransport:
    """CAN frames over ``wire``: itself, or through the USB bridge at the other end of a serial port."""
    if settings.interface == "damiao-usb":
        return UsbBridge(cast(ByteTransport, wire), clock)
    return cast(FrameTransport, wire)
