"""Exchanges with Feetech servos: ids and registers here, joints and radians in ``drives.feetech``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from wall_edge_bridge.drives.base import BusCounters
from wall_edge_bridge.kinds.feetech.parser import StatusParser
from wall_edge_bridge.kinds.feetech.pending import PendingReplies
from wall_edge_bridge.kinds.feetech.protocol import (
    BROADCAST_ID,
    OVERHEAD,
    Status,
    build_read,
    build_sync_read,
    build_sync_write,
    decode_error,
)
from wall_edge_bridge.kinds.feetech.registers import Register
from wall_edge_bridge.transport import Transport

ATTEMPTS = 3
"""Tries of an exchange outside the servo loop; inside it, a lost packet is the next cycle's business."""
_CHUNK = 4096
_MOST_STALE = 16
"""Pieces of ``_CHUNK`` read before a request, lest a device that never stops talking keeps us from asking."""


class Block(NamedTuple):
    """Registers that lie behind one another; answers carry all ``width`` bytes of them."""

    address: int
    width: int

    @classmethod
    def of(cls, *registers: Register) -> Block:
        """From the first register to the end of the last."""
        first, last = registers[0], registers[-1]
        return cls(first.address, last.address + last.length - first.address)


class Answer(NamedTuple):
    """One servo's reply: the bytes of the block, named faults, CLOCK_MONOTONIC of arrival."""

    block: Block
    data: bytes
    errors: tuple[str, ...]
    received_ns: int

    def value(self, register: Register) -> int:
        """Of one of the block's registers."""
        start = register.address - self.block.address
        return register.decode(self.data[start : start + register.length])


class FeetechBus:
    """Reads of blocks and sync writes of one register on the servos ``ids``; losses go into ``counters``.

    No exchange lasts longer than ``timeout_s``. Every method raises BusError when the port is gone. Packets
    carry no sequence number; how a late reply is told from a fresh one is in :class:`PendingReplies`.
    """

    def __init__(
        self,
        transport: Transport,
        ids: Sequence[int],
        timeout_s: float,
        counters: BusCounters,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.transport = transport
        self.ids = tuple(ids)
        self._timeout_ns = round(timeout_s * 1e9)
        self._counters = counters
        self._clock = clock
        self._pending = PendingReplies()

    def read(self, block: Block, deadline_ns: int) -> dict[int, Answer]:
        """One sync read; the answers by servo id of those that came in time, perhaps none.

        When the deadline has passed already, nothing is asked: the answers would disturb the next exchange.
        """
        return self._exchange(block, self.ids, min(deadline_ns, self._timeout()))

    def read_patiently(self, block: Block) -> dict[int, Answer]:
        """Sync reads until every servo has answered, up to ``ATTEMPTS``."""
        answers: dict[int, Answer] = {}
        for _ in range(ATTEMPTS):
            answers |= self.read(block, self._timeout())
            if len(answers) == len(self.ids):
                break
        return answers

    def read_one(self, block: Block, servo_id: int) -> Answer | None:
        """A read of one servo, in up to ``ATTEMPTS`` tries: whom a missing neighbour cannot silence."""
        for _ in range(ATTEMPTS):
            if answers := self._exchange(block, (servo_id,), self._timeout()):
                return answers[servo_id]
        return None

    def write(self, register: Register, values: Sequence[int], deadline_ns: int | None = None) -> None:
        """One sync write, ``values`` in the order of ``ids``; no servo acknowledges it.

        Raises BusTimeout when the port took no bytes until the deadline.
        """
        data = {servo_id: register.encode(value) for servo_id, value in zip(self.ids, values, strict=True)}
        deadline_ns = self._timeout() if deadline_ns is None else deadline_ns
        self.transport.send(build_sync_write(register.address, data), deadline_ns)

    def _timeout(self) -> int:
        return self._clock() + self._timeout_ns

    def _exchange(self, block: Block, ids: Sequence[int], deadline_ns: int) -> dict[int, Answer]:
        """Ask for a block and collect one reply from each of ``ids`` until the deadline."""
        answers: dict[int, Answer] = {}
        if self._clock() >= deadline_ns:
            self._counters.timeouts += len(ids)
            return answers
        self._take_stale()
        width = self._pending.width(ids, block.width)
        request = (
            build_read(ids[0], block.address, width)
            if len(ids) == 1
            else build_sync_read(block.address, width, ids)
        )
        self._pending.ask(ids, width)
        parser = StatusParser(max_params=self._pending.widest)
        self.transport.send(request, deadline_ns)
        while len(answers) < len(ids):
            data = self.transport.receive(len(ids) * (OVERHEAD + width), deadline_ns)
            if not data:
                break
            now_ns = self._clock()
            for status in self._fresh(parser.feed(data)):
                faults = decode_error(status.error)
                answers[status.id] = Answer(block, status.params[: block.width], faults, now_ns)
        self._count(parser, len(ids) - len(answers))
        return answers

    def _take_stale(self) -> None:
        """What arrived since the last exchange: none of it is fresh, but why it came is worth knowing."""
        parser = StatusParser()
        for _ in range(_MOST_STALE):
            data = self.transport.receive(_CHUNK, self._clock())
            if not data:
                return
            self._counters.stale_bytes += len(data)
            for _ in self._fresh(parser.feed(data)):
                self._counters.late += 1

    def _fresh(self, statuses: Iterable[Status]) -> Iterable[Status]:
        """Those that answer the latest request; the others are counted."""
        for status in statuses:
            verdict = self._pending.settle(status.id, len(status.params))
            if verdict == "fresh":
                yield status
            elif verdict == "late":
                self._counters.late += 1
            elif status.id != BROADCAST_ID:  # that would be the echo of a request
                self._counters.foreign += 1

    def _count(self, parser: StatusParser, missing: int) -> None:
        skipped = parser.skipped_bytes + parser.pending_bytes
        self._counters.timeouts += missing
        self._counters.checksum_errors += parser.checksum_errors
        self._counters.skipped_bytes += skipped
        self._counters.resyncs += skipped > 0
