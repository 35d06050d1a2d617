"""Byte stream → Dynamixel packets, fed in pieces of any size, finding its place again after garbage."""

from __future__ import annotations

from wall_edge_bridge.kinds.dynamixel.codec import (
    BROADCAST_ID,
    HEADER,
    MAX_ID,
    MAX_PARAMETERS,
    STATUS,
    Packet,
    crc16,
    unstuff,
)

_PREFIX = 7
"""Bytes up to the length."""


class PacketParser:
    """Holds the unfinished tail of the stream between two ``feed`` calls.

    A candidate that fails (impossible id or length, wrong CRC, a header inside it) costs one byte, then the
    search goes on inside it: a whole packet may lie behind a false header. ``max_params`` bounds how long a
    false header can make the parser wait: give the number of bytes that is expected, stuffing included.

    Where fast statuses are expected (``fast``), they are taken whole, as they came, into ``fast_statuses``:
    their motors' parts are checked one by one, by :func:`codec.split_fast_status`.
    """

    def __init__(self, max_params: int = MAX_PARAMETERS, *, fast: bool = False) -> None:
        self.skipped_bytes = 0
        """Bytes that belonged to no packet, since construction."""
        self.checksum_errors = 0
        """Candidates that looked like a packet but whose CRC was wrong, since construction."""
        self.fast_statuses: list[bytes] = []
        """Complete, unchecked; ``feed`` leaves them here."""
        self._fast = fast
        self._max_length = max_params + 3
        self._pending = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes held back because they may be the beginning of a packet."""
        return len(self._pending)

    def take_unfinished(self) -> bytes:
        """The beginning of a fast status whose rest never came, given up; empty when none is pending."""
        pending = self._pending
        if not self._fast or len(pending) <= _PREFIX or not _is_fast(pending):
            return b""
        self._pending = b""
        return pending

    def feed(self, data: bytes) -> list[Packet]:
        """Packets completed by ``data``, in order of arrival."""
        stream = self._pending + data
        packets: list[Packet] = []
        start = 0
        while True:
            header_at = _find_header(stream, start)
            self.skipped_bytes += header_at - start
            start = header_at
            end = self._end_of_packet(stream, start)
            if end is None:
                break
            packet = self._packet(stream[start:end]) if end else None
            if packet is None:
                self.skipped_bytes += 1
                start += 1
                continue
            if packet.params or packet.code != STATUS:
                packets.append(packet)
            start = end
        self._pending = stream[start:]
        return packets

    def _end_of_packet(self, stream: bytes, start: int) -> int | None:
        """Index after the candidate that begins at ``start``; 0 when none does; None when more is needed."""
        available = len(stream) - start
        if available < _PREFIX + 1:
            return None
        motor_id = stream[start + 4]
        if motor_id > MAX_ID and motor_id != BROADCAST_ID:
            return 0
        length = stream[start + 5] | stream[start + 6] << 8
        status = stream[start + 7] == STATUS
        if not 3 + status <= length <= self._max_length:
            return 0
        end = start + _PREFIX + length
        return None if len(stream) < end else end

    def _packet(self, candidate: bytes) -> Packet | None:
        if self._fast and _is_fast(candidate):
            self.fast_statuses.append(candidate)
            return Packet(BROADCAST_ID, STATUS, b"")
        if crc16(candidate[:-2]) != candidate[-2] | candidate[-1] << 8:
            self.checksum_errors += 1
            return None
        body = unstuff(candidate[7:-2])
        return None if body is None else Packet(candidate[4], body[0], body[1:])


def _is_fast(candidate: bytes) -> bool:
    return candidate[4] == BROADCAST_ID and candidate[_PREFIX] == STATUS


def _find_header(stream: bytes, start: int) -> int:
    """Where a header is, or may begin at the stream's end; the end when there is none."""
    header_at = stream.find(HEADER, start)
    if header_at >= 0:
        return header_at
    for length in (3, 2, 1):
        if stream.endswith(HEADER[:length], start):
            return len(stream) - length
    return len(stream)
