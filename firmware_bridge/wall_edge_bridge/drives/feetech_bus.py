"""Exchanges with Feetech servos: ids and registers here, joints and radians in ``drives.feetech``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from wall_edge_bridge.drives.base import BusCounters
from wall_edge_bridge.protocols.feetech import (
    OVERHEAD,
    build_ping,
    build_sync_read,
    build_sync_write,
    decode_error,
)
from wall_edge_bridge.protocols.feetech_parser import StatusParser
from wall_edge_bridge.protocols.feetech_registers import Register
from wall_edge_bridge.transport.base import Transport

ATTEMPTS = 3
"""Tries of an exchange outside the servo loop; inside it, a lost packet is the next cycle's business."""


class Answer(NamedTuple):
    """One servo's reply: the register's value (0 for a ping), named faults, CLOCK_MONOTONIC of arrival."""

    value: int
    errors: tuple[str, ...]
    received_ns: int


class FeetechBus:
    """Sync reads and writes of one register on the servos ``ids``; losses go into ``counters``.

    No exchange lasts longer than ``timeout_s``. Every method raises BusError when the port is gone.
    """

    def __init__(
        self, transport: Transport, ids: Sequence[int], timeout_s: float, counters: BusCounters
    ) -> None:
        self.transport = transport
        self.ids = tuple(ids)
        self._timeout_ns = round(timeout_s * 1e9)
        self._counters = counters

    def ping(self, servo_id: int) -> bool:
        """Whether the servo answers, in up to ``ATTEMPTS`` tries."""
        return any(
            self._exchange(build_ping(servo_id), (servo_id,), None, self._timeout()) for _ in range(ATTEMPTS)
        )

    def read(self, register: Register, deadline_ns: int) -> dict[int, Answer]:
        """One sync read; the answers by servo id of those that came in time, perhaps none.

        When the deadline has passed already, nothing is asked: the answers would disturb the next exchange.
        """
        request = build_sync_read(register.address, register.length, self.ids)
        return self._exchange(request, self.ids, register, min(deadline_ns, self._timeout()))

    def read_patiently(self, register: Register) -> dict[int, Answer]:
        """Sync reads until every servo has answered, up to ``ATTEMPTS``."""
        answers: dict[int, Answer] = {}
        for _ in range(ATTEMPTS):
            answers |= self.read(register, self._timeout())
            if len(answers) == len(self.ids):
                break
        return answers

    def write(self, register: Register, values: Sequence[int], deadline_ns: int | None = None) -> None:
        """One sync write, ``values`` in the order of ``ids``; no servo acknowledges it.

        Raises BusTimeout when the port took no bytes until the deadline.
        """
        data = {servo_id: register.encode(value) for servo_id, value in zip(self.ids, values, strict=True)}
        deadline_ns = self._timeout() if deadline_ns is None else deadline_ns
        self.transport.send(build_sync_write(register.address, data), deadline_ns)

    def _timeout(self) -> int:
        return time.monotonic_ns() + self._timeout_ns

    def _exchange(
        self, request: bytes, ids: Sequence[int], register: Register | None, deadline_ns: int
    ) -> dict[int, Answer]:
        """Send a request and collect one reply from each of ``ids`` until the deadline."""
        answers: dict[int, Answer] = {}
        width = register.length if register else 0
        parser = StatusParser(max_params=width)
        if time.monotonic_ns() < deadline_ns:
            self._counters.stale_bytes += self.transport.discard_input()
            self.transport.send(request, deadline_ns)
            while len(answers) < len(ids):
                data = self.transport.receive(len(ids) * (OVERHEAD + width), deadline_ns)
                if not data:
                    break
                now_ns = time.monotonic_ns()
                for status in parser.feed(data):
                    if status.id in ids and len(status.params) == width:
                        value = register.decode(status.params) if register else 0
                        answers[status.id] = Answer(value, decode_error(status.error), now_ns)
        self._count(parser, len(ids) - len(answers))
        return answers

    def _count(self, parser: StatusParser, missing: int) -> None:
        skipped = parser.skipped_bytes + parser.pending_bytes
        self._counters.timeouts += missing
        self._counters.checksum_errors += parser.checksum_errors
        self._counters.skipped_bytes += skipped
        self._counters.resyncs += skipped > 0
