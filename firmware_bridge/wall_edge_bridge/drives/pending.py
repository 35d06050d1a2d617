"""Which request a reply answers, on a bus whose packets carry no sequence number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

_WIDTHS = 8
"""Lengths a request may have, one byte more each. Two would do; more find back sooner after losses."""
_REMEMBERED = 1000


class PendingReplies:
    """The replies that are still to come, by the lengths that were asked for.

    A reply can only be told by its motor and its length. Motors answer in the order of the requests, each at
    most once. So a reply of a length settles the *oldest* unanswered request of that length at the earliest,
    and all before it: it is fresh only if no other request remains. That never takes a late reply for a fresh
    one, however late it is. Asking with a length that is not pending, or else with the one whose oldest
    request is the most recent, makes the next fresh reply certain at once, or after a few.
    """

    def __init__(self) -> None:
        self._widths: dict[int, deque[int]] = {}

    @property
    def widest(self) -> int:
        """Bytes that a reply may carry."""
        return max((max(queue) for queue in self._widths.values() if queue), default=0)

    def width(self, ids: Sequence[int], least: int) -> int:
        """How many bytes to ask for when ``least`` are needed: the fewest among the most telling."""
        queues = [queue for i in ids if (queue := self._widths.get(i))]
        if not queues:
            return least
        return max(
            range(least, least + _WIDTHS),
            key=lambda width: min(q.index(width) if width in q else _REMEMBERED for q in queues),
        )

    def ask(self, ids: Iterable[int], width: int) -> None:
        """Note a request."""
        queues = self._widths
        for motor_id in ids:
            if motor_id not in queues:
                queues[motor_id] = deque(maxlen=_REMEMBERED)
            queues[motor_id].append(width)

    def settle(self, motor_id: int, width: int) -> Literal["fresh", "late", "foreign"]:
        """Note a reply: to the latest request, to an older one, or to none of ours."""
        queue = self._widths.get(motor_id, deque())
        if width not in queue:
            return "foreign"
        while queue.popleft() != width:
            pass
        return "late" if queue else "fresh"
