"""Replies on their way to the host: when each arrives, and which are lost, damaged or doubled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ReplyQueue(Generic[Item]):
    """One half-duplex line. ``duration`` says how long an item occupies it [ns]: nothing, unless it is set.

    ``nth`` counts replies from now on; 1 is the next one.
    """

    def __init__(self) -> None:
        self.duration: Callable[[Item], int] = lambda _: 0
        self.latency_ns = 0
        """Added to every reply from now on, as by an adapter that holds it back."""
        self._busy_ns = 0
        self._arriving: deque[tuple[int, Item]] = deque()
        self.count = 0
        """Replies put so far, the lost ones too."""
        self._drop: set[int] = set()
        self._double: set[int] = set()
        self._change: dict[int, Callable[[Item], Item]] = {}

    def request(self, item: Item, now_ns: int) -> int:
        """Something from the host occupies the line: when it has reached the motors [ns]."""
        self._busy_ns = max(self._busy_ns, now_ns) + self.duration(item)
        return self._busy_ns

    def say(self, item: Item, ready_ns: int) -> None:
        """What a motor says unasked: no reply, so it is not counted, lost, doubled or damaged."""
        self._leave(item, ready_ns)

    @property
    def free_ns(self) -> int:
        """When the line is free again."""
        return self._busy_ns

    def put(self, item: Item, ready_ns: int) -> None:
        """A motor's reply, ready to leave at ``ready_ns`` or when the line is free."""
        self.count += 1
        if self.count in self._drop:
            self._drop.discard(self.count)
            return
        if change := self._change.pop(self.count, None):
            item = change(item)
        for _ in range(2 if self.count in self._double else 1):
            self._leave(item, ready_ns)
        self._double.discard(self.count)

    def _leave(self, item: Item, ready_ns: int) -> None:
        self._busy_ns = max(self._busy_ns, ready_ns) + self.duration(item)
        arrival_ns = self._busy_ns + self.latency_ns
        if self._arriving:
            arrival_ns = max(arrival_ns, self._arriving[-1][0])
        self._arriving.append((arrival_ns, item))

    def collect(self, now_ns: int) -> list[Item]:
        """What has arrived by now, once."""
        items = []
        while self._arriving and self._arriving[0][0] <= now_ns:
            items.append(self._arriving.popleft()[1])
        return items

    @property
    def due_ns(self) -> int | None:
        """When the next one arrives; None when none is on its way."""
        return self._arriving[0][0] if self._arriving else None

    def drop(self, nth: int = 1) -> None:
        """Lose a reply."""
        self._drop.add(self.count + nth)

    def double(self, nth: int = 1) -> None:
        """Send a reply twice."""
        self._double.add(self.count + nth)

    def change(self, how: Callable[[Item], Item], nth: int = 1) -> None:
        """Damage a reply."""
        self._change[self.count + nth] = how

    def heal(self) -> None:
        """Nothing is lost, doubled or damaged from now on."""
        self._drop.clear()
        self._double.clear()
        self._change.clear()
