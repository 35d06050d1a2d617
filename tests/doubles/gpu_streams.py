"""Streams that run as late as they may: an operation runs when somebody waits for it, so that whoever does
not wait gets nothing. Operations on the same bytes that no event orders are a :class:`Misuse`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tests.doubles.gpu_memory import Range, Use
from tests.doubles.misuse import Misuse

DEFAULT_STREAMS = (0, 1, 2)
"""The null stream, ``CU_STREAM_LEGACY`` and ``CU_STREAM_PER_THREAD``."""


@dataclass(frozen=True)
class Operation:
    """What a stream does: ``run`` touches ``reads`` and ``writes``."""

    run: Callable[[], None]
    reads: Sequence[Range]
    writes: Sequence[Range]


@dataclass(eq=False)
class Executable:
    """A captured graph, instantiated: its operations at the addresses of the capture."""

    operations: list[Operation]

    @cached_property
    def reads(self) -> list[Range]:
        return _different(range_ for operation in self.operations for range_ in operation.reads)

    @cached_property
    def writes(self) -> list[Range]:
        return _different(range_ for operation in self.operations for range_ in operation.writes)

    def run(self) -> None:
        for operation in self.operations:
            operation.run()


def _different(ranges: Iterable[Range]) -> list[Range]:
    return list({(id(range_.allocation), range_.start, range_.stop): range_ for range_ in ranges}.values())


@dataclass(eq=False)
class Capture:
    """What a stream records instead of running it."""

    thread: int
    operations: list[Operation] = field(default_factory=list)


@dataclass(eq=False)
class Event:
    """``number`` operations of ``stream``, and what was ordered before them."""

    number: int = 0
    stream: Stream | None = None
    before: dict[Stream, int] = field(default_factory=dict)


class Stream:
    """Operations in order. ``synced``: how many the host has waited for."""

    def __init__(self, handle: int, priority: int) -> None:
        self.handle, self.priority = handle, priority
        self.capture: Capture | None = None
        self.enqueued = self.done = self.synced = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._before: dict[Stream, int] = {}

    def enqueue(self, operation: Operation) -> None:
        """Raises :class:`Misuse` for one that is not ordered after another that it must follow."""
        if self.capture is not None:
            if self.capture.thread != threading.get_ident():
                raise Misuse("work of another thread on a stream that captures")
            self.capture.operations.append(operation)
            return
        number = self.enqueued + 1
        for ranges, writes in ((operation.reads, False), (operation.writes, True)):
            for range_ in ranges:
                self._use(range_, number, writes=writes)
        self._put(operation.run)

    def wait(self, event: Event) -> None:
        """Run nothing more before what ``event`` stands for."""
        other, number = event.stream, event.number
        if other is not None:
            self._order_after({**event.before, other: number})
            self._put(lambda: other.run_until(number))

    def record(self, event: Event) -> None:
        event.stream, event.number, event.before = self, self.enqueued, dict(self._before)

    def run_until(self, number: int) -> None:
        while self.done < number:
            self.done += 1
            self._waiting.popleft()()

    def finish_uses(self, range_: Range) -> None:
        """Run what this stream does with these bytes."""
        for use in range_.allocation.uses:
            if use.stream is self and use.start < range_.stop and range_.start < use.stop:
                self.run_until(use.number)

    def _order_after(self, numbers: dict[Stream, int]) -> None:
        for stream, number in numbers.items():
            self._before[stream] = max(number, self._before.get(stream, 0))

    def _put(self, run: Callable[[], None]) -> None:
        self.enqueued += 1
        self._waiting.append(run)

    def _use(self, range_: Range, number: int, *, writes: bool) -> None:
        allocation = range_.allocation
        allocation.uses = [use for use in allocation.uses if use.number > use.stream.synced]
        for use in allocation.uses:
            ordered = use.stream is self or use.number <= self._before.get(use.stream, 0)
            overlap = use.start < range_.stop and range_.start < use.stop
            if overlap and (use.writes or writes) and not ordered:
                raise Misuse(f"two streams use {allocation.address:#x}, and nothing orders them")
        allocation.uses.append(Use(self, number, range_.start, range_.stop, writes))
