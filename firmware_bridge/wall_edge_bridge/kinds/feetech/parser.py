"""Byte stream → Feetech packets, fed in pieces of any size, finding its place again after garbage."""

from __future__ import annotations

from typing import NamedTuple

from wall_edge_bridge.kinds.feetech.codec import (
    BROADCAST_ID,
    HEADER,
    MAX_PARAMETERS,
    OVERHEAD,
    Request,
    Status,
    checksum,
)


class _Frame(NamedTuple):
    id: int
    code: int
    params: bytes


class _FrameParser:
    """Holds the unfinished tail of the stream between two ``feed`` calls.

    A candidate that fails (impossible id or length, wrong checksum) costs one byte, then the search goes on
    inside it: a whole packet may lie behind a false header. ``max_params`` bounds how long a false header
    can make the parser wait: give the number of data bytes that is expected.
    """

    def __init__(self, max_params: int = MAX_PARAMETERS) -> None:
        self.skipped_bytes = 0
        """Bytes that belonged to no packet, since construction."""
        self.checksum_errors = 0
        """Candidates that looked like a packet but whose checksum was wrong, since construction."""
        self._max_length = max_params + 2
        self._pending = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes held back because they may be the beginning of a packet."""
        return len(self._pending)

    def _frames(self, data: bytes) -> list[_Frame]:
        stream = self._pending + data
        frames: list[_Frame] = []
        start = 0
        while True:
            header_at = stream.find(HEADER, start)
            if header_at < 0:  # a lone FF at the very end may be half a header
                header_at = len(stream) - 1 if stream[start:].endswith(b"\xff") else len(stream)
            self.skipped_bytes += header_at - start
            start = header_at
            end = self._end_of_frame(stream, start)
            if end is None:
                break
            if end == 0:
                self.skipped_bytes += 1
                start += 1
                continue
            frames.append(_Frame(stream[start + 2], stream[start + 4], stream[start + 5 : end - 1]))
            start = end
        self._pending = stream[start:]
        return frames

    def _end_of_frame(self, stream: bytes, start: int) -> int | None:
        """Index after the packet that begins at ``start``; 0 when none does; None when more is needed."""
        available = len(stream) - start
        if available < 3:
            return None
        if stream[start + 2] > BROADCAST_ID:
            return 0
        if available < 4:
            return None
        length = stream[start + 3]
        if not 2 <= length <= self._max_length:
            return 0
        end = start + OVERHEAD - 2 + length
        if len(stream) < end:
            return None
        if checksum(stream[start + 2 : end - 1]) != stream[end - 1]:
            self.checksum_errors += 1
            return 0
        return end


class StatusParser(_FrameParser):
    """The host's side: servo answers out of the byte stream."""

    def feed(self, data: bytes) -> list[Status]:
        """Packets completed by ``data``, in order of arrival."""
        return [Status(*frame) for frame in self._frames(data)]


class RequestParser(_FrameParser):
    """The servo's side: host requests out of the byte stream."""

    def feed(self, data: bytes) -> list[Request]:
        """Packets completed by ``data``, in order of arrival."""
        return [Request(*frame) for frame in self._frames(data)]
