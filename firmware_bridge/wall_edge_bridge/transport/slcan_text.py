"""Frames as slcan adapters spell them: ``t1234DEADBEEF`` and a carriage return.

``t`` has an 11-bit id, ``T`` a 29-bit one; ``r`` and ``R`` are remote; ``d`` and ``D`` are CAN FD, ``b`` and
``B`` with bit rate switch (the length is then its code, a hexadecimal digit). Pure: text to values and back.

Sources: Lawicel's CAN232 manual; the kernel's ``drivers/net/can/slcan``; for CAN FD the README of the CANable
2.0 firmware. There is no checksum: a digit that was damaged into another is not to be seen.
"""

from __future__ import annotations

import re

from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_frame import FD_LENGTHS, MAX_EXTENDED_ID, MAX_STANDARD_ID, pack_frame

END = b"\r"
REFUSAL = b"\a"
BITRATES = {
    10_000: b"S0",
    20_000: b"S1",
    50_000: b"S2",
    100_000: b"S3",
    125_000: b"S4",
    250_000: b"S5",
    500_000: b"S6",
    1_000_000: b"S8",
}
"""S7 is 800 or 750 kbit/s, by adapter."""
DATA_BITRATES = {2_000_000: b"Y2", 5_000_000: b"Y5"}
LONGEST = 1 + 8 + 1 + 2 * FD_LENGTHS[-1]
"""Characters of a line."""
_LINE = re.compile(rb"([trdb])([0-9A-Fa-f]{3})(.*)|([TRDB])([0-9A-Fa-f]{8})(.*)", re.DOTALL)
_REST = re.compile(rb"([0-9A-Fa-f])((?:[0-9A-Fa-f]{2})*)")
_STAMP = 4
"""Digits of a time stamp that some adapters append."""


def encode_frame(frame: Frame) -> bytes:
    """With its carriage return. Raises BusError for a frame that no bus can carry."""
    pack_frame(frame)
    letter = "b" if frame.brs else "d" if frame.fd else "r" if frame.remote else "t"
    identifier = f"{frame.id:08X}" if frame.extended else f"{frame.id:03X}"
    length = FD_LENGTHS.index(len(frame.data))
    data = "" if frame.remote else frame.data.hex().upper()
    line = f"{letter.upper() if frame.extended else letter}{identifier}{length:X}{data}\r"
    return line.encode()


def decode_frame(line: bytes, received_ns: int = 0) -> Frame | None:
    """A line without its end; None for one that is no whole frame."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    letter, digits, rest = (match[i] or match[i + 3] for i in (1, 2, 3))
    extended = letter.isupper()
    kind = letter.lower()
    identifier = int(digits, 16)
    parts = _REST.fullmatch(rest or b"")
    if parts is None or identifier > (MAX_EXTENDED_ID if extended else MAX_STANDARD_ID):
        return None
    length = FD_LENGTHS[int(parts[1], 16)]
    fd = kind in b"db"
    if length > 8 and not fd:
        return None
    remote = kind == b"r"
    count = len(parts[2]) - (0 if remote else 2 * length)
    if count not in (0, _STAMP):
        return None
    data = bytes(length) if remote else bytes.fromhex(parts[2][: 2 * length].decode())
    return Frame(identifier, data, extended, fd, kind == b"b", received_ns, remote)


class LineReader:
    """Lines of a byte stream that may begin anywhere, in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = b""
        self._overlong = False
        self.damaged = 0
        """Lines that are too long for any frame."""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, each with its end (:data:`END` or :data:`REFUSAL`)."""
        lines: list[bytes] = []
        *ended, rest = re.split(rb"(?<=[\r\a])", self._buffer + data)
        for line in ended:
            if self._overlong or len(line) > LONGEST + _STAMP + 1:
                self.damaged += 1
                self._overlong = False
            else:
                lines.append(line)
        if len(rest) > LONGEST + _STAMP:
            self._overlong, rest = True, b""
        self._buffer = rest
        return lines
