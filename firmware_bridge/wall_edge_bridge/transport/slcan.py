"""A serial CAN adapter (slcan: CANable, Lawicel, USBtin …) as a ``FrameTransport``, without python-can.

Sources: see ``transport.slcan_text``. An adapter answers what it took with a carriage return (some say ``z``
or ``Z`` first, some nothing) and what it refuses with a bell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wall_edge.errors import BusError, WallEdgeError
from wall_edge_bridge.transport.base import BusHealth, ByteTransport, Frame
from wall_edge_bridge.transport.can_errors import HealthRecord
from wall_edge_bridge.transport.serial import SerialTransport
from wall_edge_bridge.transport.slcan_text import (
    BITRATES,
    DATA_BITRATES,
    END,
    REFUSAL,
    LineReader,
    decode_frame,
    encode_frame,
)

_CHUNK = 4096
_ANSWER_NS = 30_000_000
"""How long an answer to a command is waited for: adapters that never answer exist."""
_QUIET_NS = 10_000_000
"""After a silence of this length it has said all that it had to say."""
_TTY_BAUD = 115_200
"""USB adapters ignore it."""


class SlcanTransport:
    """Frames over a byte stream to an adapter; opens its channel, and closes it with the port.

    ``listen_only``: its controller acknowledges nothing either.
    """

    def __init__(
        self,
        port: ByteTransport,
        bitrate: int,
        data_bitrate: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        *,
        listen_only: bool = False,
    ) -> None:
        self._port, self._clock = port, clock
        self._description = f"slcan adapter {port.description}, CAN at {bitrate} bit/s"
        self._lines = LineReader()
        self._frames: list[Frame] = []
        self._health = HealthRecord()
        self._health.state = "unknown"
        self._set_up(bitrate, data_bitrate, b"L" if listen_only else b"O")

    @property
    def description(self) -> str:
        return self._description

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:
        self._port.send(b"".join(map(encode_frame, frames)), deadline_ns)

    def receive(self, deadline_ns: int) -> list[Frame]:
        while True:
            data = self._port.receive(_CHUNK, 0 if self._frames else deadline_ns)
            self._take(data)
            if not data or (len(data) < _CHUNK and (self._frames or self._clock() >= deadline_ns)):
                break
        frames, self._frames = self._frames, []
        return frames

    def health(self) -> BusHealth:
        """``full`` counts what the adapter refused; its controller's state is not told."""
        return self._health.snapshot()

    def close(self) -> None:
        try:
            self._port.send(b"C" + END, self._clock() + _ANSWER_NS)
        except WallEdgeError:  # gone, or closed before
            pass
        finally:
            self._port.close()

    def _set_up(self, bitrate: int, data_bitrate: int | None, opening: bytes) -> None:
        commands = [(BITRATES.get(bitrate), f"a bit rate of {bitrate}")]
        if data_bitrate is not None:
            commands.append((DATA_BITRATES.get(data_bitrate), f"a data bit rate of {data_bitrate}"))
        # Ends what a program before us left half said. Bells are no news here, and frames are old.
        self._port.send(END + b"C" + END, self._clock() + _ANSWER_NS)
        while data := self._port.receive(_CHUNK, self._clock() + _QUIET_NS):
            self._lines.feed(data)
        for command, what in [*commands, (opening, "to be opened")]:
            if command is None or self._command(command) == REFUSAL:
                rates = ", ".join(map(str, (*BITRATES, "and for data", *DATA_BITRATES)))
                raise BusError(
                    f"{self.description}: it does not take {what}",
                    expected=f"an slcan adapter, and of {rates} bit/s one that it knows",
                    fix="set bitrate and data_bitrate, or unplug the adapter and plug it in again",
                )

    def _command(self, command: bytes) -> bytes:
        """How its answer ended; empty when none came."""
        deadline_ns = self._clock() + _ANSWER_NS
        self._port.send(command + END, deadline_ns)
        while data := self._port.receive(_CHUNK, deadline_ns):
            for line in self._lines.feed(data):
                if len(line) <= 1:
                    return line
        return b""

    def _take(self, data: bytes) -> None:
        now_ns = self._clock()
        damaged = self._lines.damaged
        for line in self._lines.feed(data):
            frame = decode_frame(line[:-1], now_ns)
            if line[-1:] == REFUSAL:
                self._health.full += 1
            elif frame is not None:
                self._frames.append(frame)
            elif line[:-1] not in (b"", b"z", b"Z"):
                self._health.error_frames += 1
        self._health.error_frames += self._lines.damaged - damaged


def open_slcan(
    channel: str, bitrate: int, data_bitrate: int | None = None, *, listen_only: bool = False
) -> SlcanTransport:
    """An adapter on a serial port, ``PORT`` or ``PORT@BAUD``; the baud matters to a real UART alone.

    Raises BusError when the port cannot be opened, or the adapter knows no such bit rate [bit/s].
    """
    port, _, baud = channel.partition("@")
    serial = SerialTransport(port, int(baud) if baud.isdecimal() else _TTY_BAUD)
    try:
        return SlcanTransport(serial, bitrate, data_bitrate, listen_only=listen_only)
    except BaseException:
        serial.close()
        raise
