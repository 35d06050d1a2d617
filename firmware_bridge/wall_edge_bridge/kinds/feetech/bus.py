"""Exchanges with Feetech servos: ids and registers here, joints and radians in the drive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.drives.pending import PendingReplies
from wall_edge_bridge.kinds.feetech.codec import (
    BROADCAST_ID,
    OVERHEAD,
    Instruction,
    Status,
    build_read,
    build_sync_read,
    build_sync_write,
)
from wall_edge_bridge.kinds.feetech.parser import StatusParser
from wall_edge_bridge.kinds.feetech.registers import Register
from wall_edge_bridge.kinds.feetech.settings import FeetechSettings
from wall_edge_bridge.sim.line import serial_duration
from wall_edge_bridge.transport import ByteTransport

ATTEMPTS = 3
"""Tries of an exchange outside the servo loop; inside it, a lost packet is the next cycle's business."""
_CHUNK = 4096
_SPARE = 16
"""Bytes a servo that an exchange may have more: of the request, and what makes a reply's length its own."""
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
    """One servo's reply: the bytes of the block, the error byte, CLOCK_MONOTONIC of arrival."""

    block: Block
    data: bytes
    error: int
    received_ns: int

    def value(self, register: Register) -> int:
        """Of one of the block's registers."""
        start = register.address - self.block.address
        return register.decode(self.data[start : start + register.length])


@dataclass
class Exchange:
    """A request that went out, and what came back so far."""

    block: Block
    ids: tuple[int, ...]
    width: int
    parser: StatusParser
    answers: dict[int, Answer] = field(default_factory=dict)
    noise: int = 0
    """Bytes that belonged to no packet."""


class FeetechBus:
    """Reads of blocks and sync writes of one register on the servos ``ids``; losses go into ``counters``.

    Outside cycles an exchange may last as long as its bytes do, and ``timeout_ms`` more. Every method raises
    BusError when the port is gone. Packets carry no sequence number; how a late reply is told from a fresh
    one: :class:`PendingReplies`.
    """

    def __init__(
        self,
        settings: FeetechSettings,
        transport: ByteTransport,
        ids: Sequence[int],
        counters: BusCounters,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.transport = transport
        self.ids = tuple(ids)
        self.clock = clock
        self._timeout_ns = round(settings.timeout_ms * 1e6)
        self._duration = serial_duration(settings.baudrate)
        self._counters = counters
        self._pending = PendingReplies()
        self._echo: Status | None = None
        """What the last read of one servo looks like when an adapter returns it."""
        self._requests: dict[tuple[int, int, tuple[int, ...]], bytes] = {}

    def start(self, block: Block, ids: tuple[int, ...], deadline_ns: int, ahead: bytes = b"") -> Exchange:
        """Send ``ahead``, then ask ``ids`` for a block.

        When the deadline has passed already, nothing is asked: the answers would disturb the next exchange.
        """
        if self.clock() >= deadline_ns:
            if ahead:
                self.transport.send(ahead, deadline_ns)
            return Exchange(block, ids, 0, StatusParser())
        self._take_stale()
        width = self._pending.width(ids, block.width)
        request = self._request(block.address, width, ids)
        self._echo = Status(ids[0], Instruction.READ, bytes((block.address, width)))
        self._pending.ask(ids, width)
        self.transport.send(ahead + request, deadline_ns)
        return Exchange(block, ids, width, StatusParser(max_params=self._pending.widest))

    def finish(self, exchange: Exchange, deadline_ns: int) -> dict[int, Answer]:
        """One answer of each, by servo id, of those that came by the deadline; perhaps none.

        Called after the deadline it takes what is there, once: something else may never stop talking.
        """
        answers, ids = exchange.answers, exchange.ids
        while exchange.width and len(answers) < len(ids):
            data = self.transport.receive(len(ids) * (OVERHEAD + exchange.width), deadline_ns)
            if not data:
                break
            now_ns = self.clock()
            for status in self._fresh(exchange.parser.feed(data)):
                if status.id not in ids:  # the last that it was asked, but in another exchange
                    self._counters.late += 1
                    continue
                data = status.params[: exchange.block.width]
                answers[status.id] = Answer(exchange.block, data, status.error, now_ns)
            if now_ns >= deadline_ns:
                break
        self._count(exchange)
        return answers

    def read_patiently(self, block: Block) -> dict[int, Answer]:
        """Sync reads until every servo has answered, up to ``ATTEMPTS``."""
        answers: dict[int, Answer] = {}
        for _ in range(ATTEMPTS):
            answers |= self._read(block, self.ids).answers
            if len(answers) == len(self.ids):
                break
        return answers

    def read_one(self, block: Block, servo_id: int, attempts: int = ATTEMPTS) -> tuple[Answer | None, int]:
        """A read of one servo, whom a missing neighbour cannot silence, in up to ``attempts`` tries.

        Its answer, and how many bytes came that were none. ``block`` has 3 bytes at least: an adapter's echo
        of the request looks like an answer of 2.
        """
        noise = 0
        for _ in range(attempts):
            exchange = self._read(block, (servo_id,))
            noise += exchange.noise
            if exchange.answers:
                return exchange.answers[servo_id], noise
        return None, noise

    def write(self, register: Register, values: Sequence[int]) -> None:
        """One sync write, ``values`` in the order of ``ids``; no servo acknowledges it."""
        data = {servo_id: register.encode(value) for servo_id, value in zip(self.ids, values, strict=True)}
        self.send(build_sync_write(register.address, data))

    def send(self, packet: bytes) -> None:
        """Whole packets. Raises BusTimeout when the port took no bytes for ``timeout_ms``."""
        self.transport.send(packet, self._timeout(packet))

    def listen(self) -> bytes:
        """What comes until ``timeout_ms`` have passed."""
        heard, deadline_ns = b"", self._timeout()
        while self.clock() < deadline_ns and (data := self.transport.receive(_CHUNK, deadline_ns)):
            heard += data
        return heard

    def _read(self, block: Block, ids: tuple[int, ...]) -> Exchange:
        deadline_ns = self._timeout(bytes(len(ids) * (OVERHEAD + block.width + _SPARE)))
        exchange = self.start(block, ids, deadline_ns)
        self.finish(exchange, deadline_ns)
        return exchange

    def _timeout(self, data: bytes = b"") -> int:
        return self.clock() + self._timeout_ns + self._duration(data)

    def _request(self, address: int, width: int, ids: tuple[int, ...]) -> bytes:
        key = address, width, ids
        if key not in self._requests:
            # Of 2 bytes even a lone servo is asked by a sync read: the echo of a read looks like its answer.
            alone = len(ids) == 1 and width > 2
            self._requests[key] = (
                build_read(ids[0], address, width) if alone else build_sync_read(address, width, ids)
            )
        return self._requests[key]

    def _take_stale(self) -> None:
        """What arrived since the last exchange: none of it is fresh, but why it came is worth knowing."""
        parser: StatusParser | None = None
        for _ in range(_MOST_STALE):
            data = self.transport.receive(_CHUNK, 0)
            if not data:
                return
            parser = parser or StatusParser()
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
            elif status.id != BROADCAST_ID and status != self._echo:
                self._counters.foreign += 1

    def _count(self, exchange: Exchange) -> None:
        parser = exchange.parser
        exchange.noise = parser.skipped_bytes + parser.pending_bytes
        self._counters.timeouts += len(exchange.ids) - len(exchange.answers)
        self._counters.checksum_errors += parser.checksum_errors
        self._counters.skipped_bytes += exchange.noise
        self._counters.resyncs += exchange.noise > 0
