"""Exchanges with Dynamixel motors: ids and registers here, joints and radians in ``drive``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.dynamixel.codec import build_read, build_sync_read, build_sync_write
from wall_edge_bridge.kinds.dynamixel.registers import TABLE, Register
from wall_edge_bridge.kinds.dynamixel.replies import CHUNK, Answer, Block, ReplyReader, Request
from wall_edge_bridge.transport import ByteTransport

ATTEMPTS = 3
"""Tries of an exchange outside the servo loop; inside it, a lost packet is the next cycle's business."""


_NOTHING = Block(0, 0)


class DynamixelBus:
    """Reads of blocks and sync writes of one register on the motors ``ids``; losses go into ``counters``.

    A motor answers a sync read when the one before it in the list has answered. So one that is missing
    silences all after it: it is asked last the next time, and costs the others one cycle.

    Outside cycles an exchange may last as long as its bytes do, and ``timeout_ns`` more; ``line_ns`` says how
    long that is for a read of so many bytes of so many motors. Every method raises BusError when the port is
    gone.
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
        line_ns: Callable[[int, int], int] = lambda *_: 0,
    ) -> None:
        self.wire, self._line_ns = wire, line_ns
        self.ids = tuple(ids)
        self.missing: frozenset[int] = frozenset()
        """Those that did not answer the last sync read."""
        self._order = list(ids)
        self._timeout_ns = timeout_ns
        self.counters = counters
        self._clock = clock
        self._fast = fast
        self._replies = ReplyReader(wire, len(self.ids), counters, clock)
        self._packets: dict[tuple[int, int, tuple[int, ...]], bytes] = {}
        """Sync reads as they were sent before."""
        self._request: Request | None = None
        self._background: Callable[[dict[int, Answer]], None] | None = None

    # --- in the servo loop ---------------------------------------------------------------------------------

    def ask(
        self, block: Block, deadline_ns: int, command: bytes = b"", ids: Sequence[int] | None = None
    ) -> None:
        """One sync read, behind ``command`` on the wire; ``collect`` waits for the answers.

        When the deadline has passed already, nothing is sent: answers would disturb the next request.
        """
        if self._clock() >= deadline_ns:
            self.counters.timeouts += len(self.ids)
            self._request = self._request if self._background else None
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
        width = self._replies.width(order, block.width, fast=self._fast)
        self._request = Request(block, order, width, self._fast, deadline_ns)
        key = block.address, width, order
        if key not in self._packets:
            self._packets[key] = build_sync_read(*key, fast=self._fast)
        packets = command + self._packets[key]
        self._replies.expect(self._request, packets)
        self.wire.send(packets, deadline_ns)

    def collect(self, deadline_ns: int) -> dict[int, Answer]:
        """The answers by id of those that came in time; returns as soon as all have."""
        request = self._request
        if request is None or self._background is not None:
            return {}
        self._request = None
        until_ns = self._timeout(request.width, len(request.ids))
        answers = self._replies.collect(request, min(deadline_ns, until_ns))
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
            deadline_ns = self._timeout(block.width, len(self.ids))
            self.ask(block, deadline_ns)
            answers |= self.collect(deadline_ns)
            if len(answers) == len(self.ids):
                return answers
        for each in self.ids:
            if each not in answers and (answer := self.read_one(block, each)):
                answers[each] = answer
        return answers

    def read_one(self, block: Block, motor_id: int) -> Answer | None:
        """A read of one motor, in up to ``ATTEMPTS`` tries."""
        for _ in range(ATTEMPTS):
            width = self._replies.width((motor_id,), block.width)
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
        request = Request(block, (motor_id,), block.width if width is None else width)
        self._take_stale()
        self._replies.expect(request, packet)
        self.wire.send(packet, self._timeout())
        return self._replies.collect(request, self._timeout(request.width, 1)).get(motor_id)

    def raw(self, packet: bytes) -> bytes:
        """Send bytes of another protocol; what comes back."""
        self._take_stale()
        self.wire.send(packet, self._timeout())
        data, until_ns = b"", self._timeout()
        while self._clock() < until_ns and (piece := self.wire.receive(CHUNK, until_ns)):
            data += piece
        return data

    def pause(self, seconds: float) -> None:
        """Let time pass; what arrives meanwhile is stale."""
        self._take_stale()
        until_ns = self._clock() + round(seconds * 1e9)
        while self._clock() < until_ns and self.wire.receive(CHUNK, until_ns):
            pass

    def _timeout(self, width: int = 0, motors: int = 0) -> int:
        return self._clock() + self._timeout_ns + self._line_ns(width, motors)

    def _take_stale(self, deadline_ns: int | None = None) -> None:
        """What arrived since the last exchange: the answers to a background read, or none that is fresh."""
        request, store, self._request, self._background = self._request, self._background, None, None
        if request is not None and store is not None:
            until_ns = request.until_ns if deadline_ns is None else min(request.until_ns, deadline_ns)
            store(self._replies.collect(request, until_ns, background=True))
        self._replies.drop_stale()
