"""Replies of Dynamixel motors: which bytes are one, and which of our requests it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.drives.pending import PendingReplies
from wall_edge_bridge.kinds.dynamixel.codec import (
    BROADCAST_ID,
    FAST_BLOCK,
    FAST_OVERHEAD,
    STATUS,
    Packet,
    Status,
    split_fast_status,
)
from wall_edge_bridge.kinds.dynamixel.parser import PacketParser
from wall_edge_bridge.kinds.dynamixel.registers import TABLE
from wall_edge_bridge.transport import ByteTransport

CHUNK = 4096
_MOST_STALE = 16
"""Pieces of ``CHUNK`` read before a request, lest a device that never stops talking keeps us from asking."""


class Block(NamedTuple):
    """Registers that lie behind one another."""

    address: int
    width: int

    @classmethod
    def of(cls, first: str, last: str = "") -> Block:
        """From one register to the end of another, by their names."""
        begin, end = TABLE[first], TABLE[last or first]
        return cls(begin.address, end.address + end.length - begin.address)


class Answer(NamedTuple):
    """One motor's reply: the bytes of the block, the error byte, CLOCK_MONOTONIC of arrival."""

    block: Block
    data: bytes
    error: int
    received_ns: int

    def value(self, name: str) -> int:
        """Of one of the block's registers."""
        register = TABLE[name]
        start = register.address - self.block.address
        return register.decode(self.data[start : start + register.length])


class Request(NamedTuple):
    """What motors ``ids`` were asked for: ``width`` bytes each, of which the first are ``block``'s."""

    block: Block
    ids: Sequence[int]
    width: int
    fast: bool = False
    until_ns: int = 0
    """When its answers must have come, if nobody says otherwise."""


class ReplyReader:
    """Of one wire to ``motors`` motors. What is lost, late, damaged or another's goes into ``counters``.

    Packets carry no sequence number; how a late reply is told from a fresh one is in :class:`PendingReplies`.
    """

    def __init__(
        self, wire: ByteTransport, motors: int, counters: BusCounters, clock: Callable[[], int]
    ) -> None:
        self._wire, self._motors, self._counters, self._clock = wire, motors, counters, clock
        self._pending = PendingReplies()
        self._parser = PacketParser()
        self._echo = self._head = b""

    def width(self, ids: Sequence[int], least: int, *, fast: bool = False) -> int:
        """How many bytes to ask for when ``least`` are needed."""
        return self._pending.width((BROADCAST_ID,) if fast else ids, least)

    def expect(self, request: Request, sent: bytes) -> None:
        """Note a request, and the bytes that it is sent with."""
        self._pending.ask((BROADCAST_ID,) if request.fast else request.ids, request.width)
        self._parser = _parser_for(request, self._pending.widest)
        self._echo, self._head = sent, b""

    def collect(self, request: Request, deadline_ns: int, *, background: bool = False) -> dict[int, Answer]:
        """The answers by id of those that came in time; returns as soon as all have.

        What a ``background`` read does not bring is no loss: it is asked for again, and counted if late.
        """
        answers: dict[int, Answer] = {}
        parser, expected = self._parser, len(request.ids)
        while len(answers) < expected:
            data = self._wire.receive(CHUNK, deadline_ns)
            if not data:
                break
            now_ns = self._clock()
            if self._echo:
                data = self._without_echo(data)
            statuses = self._fresh(parser.feed(data))
            if parser.fast_statuses:
                statuses = [*statuses, *self._fast_parts(request, parser.fast_statuses)]
                parser.fast_statuses = []
            for status in statuses:
                if status.id not in request.ids:  # the last that it was asked, but in another exchange
                    self._counters.late += 1
                    continue
                answers[status.id] = Answer(request.block, status.data, status.error, now_ns)
            if now_ns >= deadline_ns:  # something else may never stop talking
                break
        if len(answers) < expected and (unfinished := parser.take_unfinished()):
            for status in self._fast_parts(request, [unfinished]):
                answers[status.id] = Answer(request.block, status.data, status.error, self._clock())
        self._counters.checksum_errors += parser.checksum_errors
        if not background:
            self._count(parser, expected - len(answers))
        return answers

    def drop_stale(self) -> None:
        """What arrived since the last exchange: none of it is fresh, but why it came is worth knowing."""
        parser: PacketParser | None = None
        for _ in range(_MOST_STALE):
            data = self._wire.receive(CHUNK, 0)
            if not data:
                return
            parser = parser or PacketParser()
            self._counters.stale_bytes += len(data)
            for _ in self._fresh(parser.feed(data)):
                self._counters.late += 1

    def _without_echo(self, data: bytes) -> bytes:
        """Some adapters hear what they send."""
        self._head += data
        if len(self._head) < len(self._echo) and self._echo.startswith(self._head):
            return b""
        head, echo, self._echo = self._head, self._echo, b""
        return head[len(echo) :] if head.startswith(echo) else head

    def _fast_parts(self, request: Request, packets: Iterable[bytes]) -> list[Status]:
        """What the latest request's fast status says; a late one says nothing."""
        statuses: list[Status] = []
        for packet in packets:
            length = packet[5] | packet[6] << 8
            width, rest = divmod(length - 1, len(request.ids))
            width -= FAST_BLOCK
            if not rest and self._pending.settle(BROADCAST_ID, width) == "fresh":
                parts = split_fast_status(packet, request.ids, width)
                self._counters.checksum_errors += len(parts) < len(request.ids)
                statuses += parts
            else:
                self._counters.late += 1
        return statuses

    def _fresh(self, packets: Iterable[Packet]) -> list[Status]:
        """Those that answer the latest request; the others are counted. Echoes of requests are neither."""
        fresh = []
        for packet in packets:
            if packet.code != STATUS:
                continue
            width = len(packet.params) - 1
            if packet.id == BROADCAST_ID:  # a fast status of old, whose last CRC the parser took
                width = (len(packet.params) + 2) // self._motors - FAST_BLOCK
            verdict = self._pending.settle(packet.id, width)
            if verdict == "fresh":
                fresh.append(Status(packet.id, packet.params[0], packet.params[1:]))
            elif verdict == "late":
                self._counters.late += 1
            else:
                self._counters.foreign += 1
        return fresh

    def _count(self, parser: PacketParser, silent: int) -> None:
        skipped = parser.skipped_bytes + parser.pending_bytes
        self._counters.timeouts += silent
        self._counters.skipped_bytes += skipped
        self._counters.resyncs += skipped > 0


def _parser_for(request: Request, widest: int) -> PacketParser:
    if request.fast:
        return PacketParser(FAST_OVERHEAD + len(request.ids) * (FAST_BLOCK + widest), fast=True)
    return PacketParser(2 + widest * 4 // 3)
