"""Exchanges with Dynamixel motors: ids and registers here, joints and radians in ``drive``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from wall_edge_bridge.drives.pending import PendingReplies
from wall_edge_bridge.drives.values import BusCounters
from wall_edge_bridge.kinds.dynamixel.codec import (
    BROADCAST_ID,
    FAST_BLOCK,
    FAST_OVERHEAD,
    STATUS,
    Packet,
    Status,
    build_read,
    build_sync_read,
    build_sync_write,
    split_fast_status,
)
from wall_edge_bridge.kinds.dynamixel.parser import PacketParser
from wall_edge_bridge.kinds.dynamixel.registers import TABLE, Register
from wall_edge_bridge.transport.base import ByteTransport

ATTEMPTS = 3
"""Tries of an exchange outside the servo loop; inside it, a lost packet is the next cycle's business."""
_CHUNK = 4096
_MOST_STALE = 16
"""Pieces of ``_CHUNK`` read before a request, lest a device that never stops talking keeps us from asking."""


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


class _Request(NamedTuple):
    block: Block
    ids: Sequence[int]
    width: int
    fast: bool
    until_ns: int = 0


_NOTHING = Block(0, 0)


class DynamixelBus:
    """Reads of blocks and sync writes of one register on the motors ``ids``; losses go into ``counters``.

    A motor answers a sync read when the one before it in the list has answered. So one that is missing
    silences all after it: it is asked last the next time, and costs the others one cycle.

    Packets carry no sequence number; how a late reply is told from a fresh one is in :class:`PendingReplies`.
    Every method raises BusError when the port is gone.
    """

    def __init__(
        self,
        wire: ByteTransport,
        ids: Sequence[int],
        timeout_ns: int,
        counters: BusCounters,
        clock: Callable[[], int] = time.monotonic_ns,
        *,
        fast: bool = False,
    ) -> None:
        self.wire = wire
        self.ids = tuple(ids)
        self.missing: frozenset[int] = frozenset()
        """Those that did not answer the last sync read."""
        self._order = list(ids)
        self._timeout_ns = timeout_ns
        self.counters = counters
        self._clock = clock
        self._fast = fast
        self._pending = PendingReplies()
        self._request: _Request | None = None
        self._background: Callable[[dict[int, Answer]], None] | None = None
        self._parser = PacketParser()
        self._echo = self._head = b""

    # --- in the servo loop ---------------------------------------------------------------------------------

    def ask(
        self, block: Block, deadline_ns: int, command: bytes = b"", ids: Sequence[int] | None = None
    ) -> None:
        """One sync read, behind ``command`` on the wire; ``collect`` waits for the answers.

        When the deadline has passed already, nothing is sent: answers would disturb the next request.
        """
        if self._clock() >= deadline_ns:
            self.counters.timeouts += len(self.ids)
            return
        self._take_stale(deadline_ns)
        self._ask(block, self._order if ids is None else ids, deadline_ns, command)

    def ask_in_background(
        self, block: Block, within_ns: int, store: Callable[[dict[int, Answer]], None]
    ) -> None:
        """A sync read whose answers are taken before the next request, and handed to ``store``.

        The wire's idle time between two cycles is used so: only a request that comes sooner than
        ``within_ns`` waits. Those that did not answer the last sync read are left out.
        """
        ids = [each for each in self._order if each not in self.missing]
        self._take_stale()
        self._ask(block, ids, self._clock() + within_ns, b"")
        self._background = store

    def _ask(self, block: Block, ids: Sequence[int], deadline_ns: int, command: bytes) -> None:
        order = tuple(ids)
        keys = (BROADCAST_ID,) if self._fast else order
        width = self._pending.width(keys, block.width)
        self._pending.ask(keys, width)
        self._request = _Request(block, order, width, self._fast, deadline_ns)
        self._parser = _parser_for(self._request, self._pending.widest)
        self._send(command + build_sync_read(block.address, width, order, fast=self._fast), deadline_ns)

    def collect(self, deadline_ns: int) -> dict[int, Answer]:
        """The answers by id of those that came in time; returns as soon as all have."""
        request = self._request
        if request is None or self._background is not None:
            return {}
        self._request = None
        answers = self._collect(request, min(deadline_ns, self._timeout()))
        self.missing = frozenset(request.ids) - answers.keys()
        if len(self.missing) > 1:
            self._suspect(request.ids)
        return answers

    def _suspect(self, order: Sequence[int]) -> None:
        """When all after the first silent one are silent too, it may be what silences them."""
        first = next(index for index, each in enumerate(order) if each in self.missing)
        if self.missing.issuperset(order[first:]):
            self._order.remove(order[first])
            self._order.append(order[first])

    def goals(self, register: Register, values: Sequence[int]) -> bytes:
        """A sync write of one register, ``values`` in the order of ``ids``; no motor acknowledges it."""
        return build_sync_write(
            register.address,
            {each: register.encode(value) for each, value in zip(self.ids, values, strict=True)},
        )

    # --- at leisure ----------------------------------------------------------------------------------------

    def read(self, block: Block) -> dict[int, Answer]:
        """Sync reads until every motor has answered, up to ``ATTEMPTS``, then each silent one alone."""
        answers: dict[int, Answer] = {}
        for _ in range(ATTEMPTS):
            self.ask(block, self._timeout())
            answers |= self.collect(self._timeout())
            if len(answers) == len(self.ids):
                return answers
        for each in self.ids:
            if each not in answers and (answer := self.read_one(block, each)):
                answers[each] = answer
        return answers

    def read_one(self, block: Block, motor_id: int) -> Answer | None:
        """A read of one motor, in up to ``ATTEMPTS`` tries."""
        for _ in range(ATTEMPTS):
            width = self._pending.width((motor_id,), block.width)
            if answer := self.exchange(motor_id, build_read(motor_id, block.address, width), block, width):
                return answer
        return None

    def write(self, name: str, values: Sequence[int]) -> None:
        """One sync write at leisure."""
        self.wire.send(self.goals(TABLE[name], values), self._timeout())

    def exchange(
        self, motor_id: int, packet: bytes, block: Block = _NOTHING, width: int | None = None
    ) -> Answer | None:
        """Send a packet to one motor; its status with ``width`` bytes of data, or None."""
        request = _Request(block, (motor_id,), block.width if width is None else width, fast=False)
        self._take_stale()
        self._pending.ask(request.ids, request.width)
        self._parser = _parser_for(request, self._pending.widest)
        self._send(packet, self._timeout())
        return self._collect(request, self._timeout()).get(motor_id)

    def raw(self, packet: bytes) -> bytes:
        """Send bytes of another protocol; what comes back."""
        self._take_stale()
        self.wire.send(packet, self._timeout())
        data, until_ns = b"", self._timeout()
        while piece := self.wire.receive(_CHUNK, until_ns):
            data += piece
        return data

    def pause(self, seconds: float) -> None:
        """Let time pass; what arrives meanwhile is stale."""
        self._take_stale()
        until_ns = self._clock() + round(seconds * 1e9)
        while self._clock() < until_ns and self.wire.receive(_CHUNK, until_ns):
            pass

    def _timeout(self) -> int:
        return self._clock() + self._timeout_ns

    def _send(self, packet: bytes, deadline_ns: int) -> None:
        self._echo, self._head = packet, b""
        self.wire.send(packet, deadline_ns)

    # --- replies -------------------------------------------------------------------------------------------

    def _collect(self, request: _Request, deadline_ns: int) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        parser, expected = self._parser, len(request.ids)
        while len(answers) < expected:
            data = self.wire.receive(_CHUNK, deadline_ns)
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
                answers[status.id] = Answer(request.block, status.data, status.error, now_ns)
        if len(answers) < expected and (unfinished := parser.take_unfinished()):
            for status in self._fast_parts(request, [unfinished]):
                answers[status.id] = Answer(request.block, status.data, status.error, self._clock())
        self._count(parser, expected - len(answers))
        return answers

    def _without_echo(self, data: bytes) -> bytes:
        """Some adapters hear what they send."""
        self._head += data
        if len(self._head) < len(self._echo) and self._echo.startswith(self._head):
            return b""
        head, echo, self._echo = self._head, self._echo, b""
        return head[len(echo) :] if head.startswith(echo) else head

    def _fast_parts(self, request: _Request, packets: Iterable[bytes]) -> list[Status]:
        """What the latest request's fast status says; a late one says nothing."""
        statuses: list[Status] = []
        for packet in packets:
            length = packet[5] | packet[6] << 8
            width = (length - 1) // len(request.ids) - FAST_BLOCK
            verdict = self._pending.settle(BROADCAST_ID, width)
            if verdict == "fresh":
                parts = split_fast_status(packet, request.ids, width)
                self.counters.checksum_errors += len(parts) < len(request.ids)
                statuses += parts
            else:
                self.counters.late += 1
        return statuses

    def _fresh(self, packets: Iterable[Packet]) -> list[Status]:
        """Those that answer the latest request; the others are counted. Echoes of requests are neither."""
        fresh = []
        for packet in packets:
            if packet.code != STATUS:
                continue
            width = len(packet.params) - 1
            if packet.id == BROADCAST_ID:  # a fast status of old, whose last CRC the parser took
                width = (len(packet.params) + 2) // len(self.ids) - FAST_BLOCK
            verdict = self._pending.settle(packet.id, width)
            if verdict == "fresh":
                fresh.append(Status(packet.id, packet.params[0], packet.params[1:]))
            elif verdict == "late":
                self.counters.late += 1
            else:
                self.counters.foreign += 1
        return fresh

    def _take_stale(self, deadline_ns: int | None = None) -> None:
        """What arrived since the last exchange: the answers to a background read, or none that is fresh.

        Why those came is worth knowing.
        """
        request, store, self._request, self._background = self._request, self._background, None, None
        if request is not None and store is not None:
            until_ns = request.until_ns if deadline_ns is None else min(request.until_ns, deadline_ns)
            store(self._collect(request, until_ns))
        parser: PacketParser | None = None
        for _ in range(_MOST_STALE):
            data = self.wire.receive(_CHUNK, 0)
            if not data:
                return
            parser = parser or PacketParser()
            self.counters.stale_bytes += len(data)
            for _ in self._fresh(parser.feed(data)):
                self.counters.late += 1

    def _count(self, parser: PacketParser, silent: int) -> None:
        skipped = parser.skipped_bytes + parser.pending_bytes
        self.counters.timeouts += silent
        self.counters.checksum_errors += parser.checksum_errors
        self.counters.skipped_bytes += skipped
        self.counters.resyncs += skipped > 0


def _parser_for(request: _Request, widest: int) -> PacketParser:
    if request.fast:
        return PacketParser(FAST_OVERHEAD + len(request.ids) * (FAST_BLOCK + widest), fast=True)
    return PacketParser(2 + widest * 4 // 3)
