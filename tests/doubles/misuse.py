"""What the doubles raise, and answers that must be looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any


class Misuse(AssertionError):
    """A call that real hardware would answer with an error, garbage, a hang or a slow path."""


class Unread:
    """On each thread the last answer, until somebody looks at it."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def require_none(self, call: str) -> None:
        """Before ``call``: the answer to the call before must have been looked at."""
        ignored = getattr(self._threads, "call", None)
        self._threads.call = None
        if ignored is not None:
            raise Misuse(f"{call} although nobody looked at what {ignored} answered")

    def put(self, call: str) -> None:
        self._threads.call = call

    def look(self) -> None:
        self._threads.call = None


class Statuses(tuple[Any, ...]):
    """What a driver function returns, a tuple that begins with its status."""

    unread: Unread

    @classmethod
    def of(cls, unread: Unread, call: str, *values: Any) -> Statuses:
        statuses = cls(values)
        statuses.unread = unread
        unread.put(call)
        return statuses

    def __iter__(self) -> Iterator[Any]:
        self.unread.look()
        return super().__iter__()

    def __getitem__(self, key: Any) -> Any:
        self.unread.look()
        return super().__getitem__(key)


class Accepted:
    """What TensorRT returns: true, or false, and somebody must ask."""

    def __init__(self, unread: Unread, call: str, *, accepted: bool) -> None:
        self._unread, self._accepted = unread, accepted
        unread.put(call)

    def __bool__(self) -> bool:
        self._unread.look()
        return self._accepted
