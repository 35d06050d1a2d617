"""What a bad line, another program, or a broken device makes of bytes and frames."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from wall_edge_bridge.sim import VirtualClock
from wall_edge_bridge.transport import Frame
from wall_edge_bridge.transport.can_frame import FD_LENGTHS

_LATEST_NS = 60_000_000
"""How late a word may come: an adapter holds it back, or its driver."""
_TALK_NS = 20_000
"""What a word that nobody asked for takes: else one that never ends would stop the clock."""


def damaged(rng: random.Random, data: bytes) -> bytes:
    """``data`` with one to three things wrong with it; perhaps the same again."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = _damage(rng, data)
    return data


def _damage(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return rng.randbytes(rng.randint(0, 8))
    at, how = rng.randrange(len(data)), rng.random()
    if how < 0.35:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if how < 0.5:
        return (
            data[:at] + bytes([rng.choice((0, 0xFF, 0xFD, 0xAA, 0x55, rng.getrandbits(8)))]) + data[at + 1 :]
        )
    if how < 0.65:
        return data[:at] + data[at + rng.randint(1, 4) :]
    if how < 0.8:
        return data[:at] + rng.randbytes(rng.randint(1, 4)) + data[at:]
    if how < 0.9:
        return data[:at] + data
    return rng.randbytes(rng.randint(0, 24))


def damaged_frame(rng: random.Random, frame: Frame) -> Frame:
    """As a broken device sends it: whole, with another identifier, other data, or another form."""
    how = rng.random()
    if how < 0.3:
        return frame._replace(data=_fitting(rng, damaged(rng, frame.data), frame.fd))
    if how < 0.5:
        return frame._replace(
            id=(frame.id ^ 1 << rng.randrange(11)) & (0x1FFFFFFF if frame.extended else 0x7FF)
        )
    if how < 0.6:
        return frame._replace(extended=not frame.extended, id=frame.id & 0x7FF)
    if how < 0.7:
        return Frame(frame.id, bytes(min(8, len(frame.data))), frame.extended, remote=True)
    if how < 0.8:
        return frame._replace(data=rng.randbytes(len(frame.data)))
    return stranger(rng)


def stranger(rng: random.Random) -> Frame:
    """Any frame."""
    extended, fd = rng.random() < 0.4, rng.random() < 0.2
    length = rng.choice(FD_LENGTHS) if fd else rng.choice((8, 8, 8, rng.randint(0, 8)))
    return Frame(rng.getrandbits(29 if extended else 11), rng.randbytes(length), extended, fd)


def _fitting(rng: random.Random, data: bytes, fd: bool) -> bytes:
    most = rng.choice(FD_LENGTHS) if fd else rng.randint(0, 8)
    return data[:most].ljust(next(n for n in FD_LENGTHS if n >= min(len(data), most)), b"\0")


class NoisyWire:
    """Between a drive and its twin. ``level``: how likely what arrives is disturbed; 0: a clear line.

    ``lies``: whether whole frames of a motor's own identifier may say what is not so, as a bus without
    checksums of its own cannot tell; else CAN frames are lost, late, doubled, and strangers' come between.
    """

    def __init__(self, wire: Any, clock: VirtualClock, rng: random.Random, *, lies: bool) -> None:
        self._wire, self._clock, self._rng, self._lies = wire, clock, rng, lies
        self.level = 0.0
        self.disturbed = 0
        self.sent: list[Any] = []
        """The last requests, to be learnt from."""
        self._held: list[tuple[int, Any]] = []
        self._heard: set[int] = set()
        self.description = "noisy bus"
        self.close = wire.close
        self.health = getattr(wire, "health", None)

    def send(self, what: Any, deadline_ns: int) -> None:
        self.sent = [*self.sent[-20:], *([what] if isinstance(what, bytes) else what)]
        self._wire.send(what, deadline_ns)

    def receive(self, *limits: int) -> Any:
        what = self._wire.receive(*limits)
        if not self.level:
            self._held = []
            return what
        now_ns = self._clock()
        self._held = [each for each in self._held if now_ns - each[0] < _LATEST_NS]
        return self._bytes(what) if isinstance(what, bytes) else self._frames(what)

    def _event(self) -> bool:
        event = self._rng.random() < self.level
        self.disturbed += event
        return event

    def _bytes(self, data: bytes) -> bytes:
        rng = self._rng
        if not self._event():
            return data
        self._clock.now_ns += _TALK_NS
        how = rng.random()
        if how < 0.2:
            self._held.append((self._clock(), data))
            return b""
        if how < 0.4 and self._held:
            late: bytes = self._held.pop()[1]
            return late + data
        return damaged(rng, data)

    def _frames(self, frames: Sequence[Frame]) -> list[Frame]:
        arrived: list[Frame] = []
        for frame in frames:
            self._heard.add(frame.id)
            arrived += self._frame(frame) if self._event() else [frame]
        if self._event():
            self._clock.now_ns += _TALK_NS
            arrived.insert(self._rng.randint(0, len(arrived)), self._other())
        return [frame._replace(received_ns=self._clock()) for frame in arrived]

    def _frame(self, frame: Frame) -> list[Frame]:
        how = self._rng.random()
        if how < 0.3:
            return []
        if how < 0.5:
            return [frame, frame]
        if how < 0.7:
            self._held.append((self._clock(), frame))
            return []
        if how < 0.8 and self._held:
            return [frame, self._held.pop()[1]]
        return [damaged_frame(self._rng, frame)] if self._lies else [self._other(), frame]

    def _other(self) -> Frame:
        while True:
            frame = stranger(self._rng)
            if self._lies or frame.id not in self._heard:
                return frame
