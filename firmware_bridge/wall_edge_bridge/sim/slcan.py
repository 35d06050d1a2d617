"""A simulated slcan adapter: motors on a CAN bus, behind a serial port.

Strict where adapters are: a frame for a channel that is not open, a bit rate for one that is, and a line that
is no command, are refused with a bell. Frames at another bit rate than the motors' are heard by nobody.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.sim.base import ByteTwin, FrameTwin
from wall_edge_bridge.transport.slcan_text import (
    BITRATES,
    DATA_BITRATES,
    END,
    REFUSAL,
    LineReader,
    decode_frame,
    encode_frame,
)

_VERSION = b"V1013"


class SlcanAdapter(ByteTwin):
    """``twin``'s motors listen at ``bitrate`` and ``data_bitrate`` [bit/s]."""

    def __init__(self, twin: FrameTwin, bitrate: int = 1_000_000, data_bitrate: int | None = None) -> None:
        super().__init__(twin.joints)
        self.twin = twin
        self._motors = (BITRATES[bitrate], DATA_BITRATES.get(data_bitrate or 0, b""))
        self._rate, self._data_rate = b"", b""
        self.is_open = False
        self.listens_only = False
        self.refused = 0
        self._lines = LineReader()

    @property
    def due_ns(self) -> int | None:
        return self.twin.due_ns

    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:  # noqa: ARG002
        """A USB adapter has no baud rate."""
        answers = b"".join(self._answer(line, now_ns) for line in self._lines.feed(data))
        return answers + self.collect(now_ns)

    def collect(self, now_ns: int) -> bytes:
        frames = self.twin.collect(now_ns)
        return b"".join(map(encode_frame, frames)) if self._hears() else b""

    def _hears(self) -> bool:
        rates = (self._rate, self._data_rate if self._motors[1] else b"")
        return self.is_open and rates == self._motors

    def _answer(self, line: bytes, now_ns: int) -> bytes:
        command = line[:-1]
        if line[-1:] == END:
            if command in (b"", b"V"):
                return (_VERSION if command else b"") + END
            if command == b"C" and self.is_open:
                self.is_open = False
                return END
            if self.is_open and not self.listens_only and (frame := decode_frame(command)) is not None:
                frames = self.twin.handle(frame, now_ns) if self._hears() else []
                return (b"Z" if frame.extended else b"z") + END + b"".join(map(encode_frame, frames))
            if not self.is_open and self._set_up(command):
                return END
        self.refused += command != b"C"
        return REFUSAL

    def _set_up(self, command: bytes) -> bool:
        if command in BITRATES.values():
            self._rate = command
        elif command in DATA_BITRATES.values():
            self._data_rate = command
        elif command in (b"O", b"L") and self._rate:
            self.is_open, self.listens_only = True, command == b"L"
        else:
            return False
        return True

    # --- the motors' own -----------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        self.twin.advance(now_ns)

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        return self.twin.positions(now_ns)

    def set_positions(self, positions: npt.ArrayLike) -> None:
        self.twin.set_positions(positions)

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        return self.twin.powered(now_ns)

    def silence(self, index: int, silent: bool = True) -> None:
        self.twin.silence(index, silent)

    def lose_torque(self, index: int) -> None:
        self.twin.lose_torque(index)

    def reboot(self, index: int, now_ns: int) -> None:
        self.twin.reboot(index, now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        self.twin.shift_zero(index, radians)

    def set_fault(self, index: int, name: str) -> None:
        self.twin.set_fault(index, name)
