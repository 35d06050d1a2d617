"""Wires that come back: for ``on_loss: recover``, an adapter that vanished is opened again.

Opening is tried inside ``send`` and ``receive``, at most every 20 ms; meanwhile they raise BusError at once.
What a motor lost meanwhile, its torque or its place, is for the drive and the loop to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NoReturn, TypeVar

from wall_edge.errors import BusError, BusTimeout
from wall_edge_bridge.transport.base import BusHealth, ByteTransport, Frame, FrameTransport, Wire

RETRY_NS = 20_000_000
WireType = TypeVar("WireType", ByteTransport, FrameTransport)


class _Recovering(Generic[WireType]):
    """``open_again`` raises BusError while the adapter is not there."""

    def __init__(self, wire: WireType, open_again: Callable[[], WireType], clock: Callable[[], int]) -> None:
        self._wire: WireType | None = wire
        self._open_again: Callable[[], WireType] = open_again
        self._clock = clock
        self._description = wire.description
        self._next_ns: int | None = None
        self._closed = False
        self.reopened = 0
        """How often it was opened again."""
        self.on_reopened: Callable[[], object] | None = None

    @property
    def description(self) -> str:
        return self._description

    def close(self) -> None:
        self._closed = True
        if self._wire is not None:
            self._wire.close()

    def _present(self) -> WireType:
        """The wire, opened again where it must be and can be. Raises BusError."""
        if self._wire is not None:
            return self._wire
        now_ns = self._clock()
        if self._closed:
            raise BusError(f"{self._description} is closed", fix="open the transport again before using it")
        if self._next_ns is not None and now_ns < self._next_ns:
            raise self._missing()
        self._next_ns = now_ns + RETRY_NS
        try:
            self._wire = self._open_again()
        except BusError as error:
            raise self._missing() from error
        self.reopened += 1
        if self.on_reopened is not None:
            self.on_reopened()
        return self._wire

    def _lose(self, error: BusError) -> NoReturn:
        if self._wire is not None and not self._closed:
            self._wire.close()
            self._wire = None
        raise error

    def _missing(self) -> BusError:
        return BusError(
            f"{self._description} is not there", fix="plug the adapter in again: it is opened by itself"
        )


class RecoveringBytes(_Recovering[ByteTransport]):
    """A ``ByteTransport``."""

    def send(self, data: bytes, deadline_ns: int) -> None:
        wire = self._present()
        try:
            wire.send(data, deadline_ns)
        except BusTimeout:
            raise
        except BusError as error:
            self._lose(error)

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        wire = self._present()
        try:
            return wire.receive(at_most, deadline_ns)
        except BusTimeout:
            raise
        except BusError as error:
            self._lose(error)


class RecoveringFrames(_Recovering[FrameTransport]):
    """A ``FrameTransport``; its health is counted over all openings. Only the controller ends a bus-off."""

    _before = BusHealth()

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:
        wire = self._present()
        try:
            wire.send(frames, deadline_ns)
        except BusTimeout:
            raise
        except BusError as error:
            self._lose_unless_off(wire, error)

    def receive(self, deadline_ns: int) -> list[Frame]:
        wire = self._present()
        try:
            return wire.receive(deadline_ns)
        except BusTimeout:
            raise
        except BusError as error:
            self._lose_unless_off(wire, error)

    def health(self) -> BusHealth:
        if self._wire is None:
            return self._before
        return _sum(self._before, self._wire.health())

    def _lose_unless_off(self, wire: FrameTransport, error: BusError) -> NoReturn:
        health = wire.health()
        if health.state == "off":
            raise error
        self._before = _sum(self._before, health)._replace(state="unknown")
        self._lose(error)


def tell_reopenings(wire: Wire, action: Callable[[], object]) -> None:
    """Have ``action`` called each time that ``wire`` was opened again: for ``BusCounters.reopened``."""
    if isinstance(wire, _Recovering):
        wire.on_reopened = action


def _sum(before: BusHealth, now: BusHealth) -> BusHealth:
    *counts, state = now
    sums = [a + b for a, b in zip(before[:-1], counts, strict=True)]
    return BusHealth._make([*sums, state])
