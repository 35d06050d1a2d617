"""Requests and replies on a CAN bus at leisure: what happens outside the cycle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.transport import Frame, FrameTransport

Key = TypeVar("Key")

ATTEMPTS = 3
"""How often something is asked before a motor counts as silent."""


class FrameExchange:
    """Of one drive, or one tool. ``reply_s`` is how long a motor may take to answer [s].

    ``unasked`` gets each frame that answers nothing that was asked. ``others`` has the last of them.
    """

    def __init__(
        self,
        wire: FrameTransport,
        counters: BusCounters,
        clock: Callable[[], int],
        reply_s: float,
        unasked: Callable[[Frame], object] = lambda _: None,
    ) -> None:
        self.wire, self._counters, self._clock = wire, counters, clock
        self._reply_ns = round(reply_s * 1e9)
        self._unasked = unasked
        self.others: deque[Frame] = deque(maxlen=256)

    def ask(
        self,
        requests: Mapping[Key, Frame],
        key_of: Callable[[Frame], Key | None],
        attempts: int = ATTEMPTS,
    ) -> dict[Key, Frame]:
        """Sends ``requests`` until each has its reply, ``attempts`` times at most; those that came.

        ``key_of`` says which request a frame answers; None for a frame that answers none. What lay in the
        input before answers nothing. Raises BusError.
        """
        replies: dict[Key, Frame] = {}
        for _ in range(attempts):
            missing = {key: frame for key, frame in requests.items() if key not in replies}
            if not missing:
                break
            self.drain()
            deadline_ns = self._clock() + self._reply_ns
            self.wire.send(list(missing.values()), deadline_ns)
            while len(replies) < len(requests) and (frames := self.wire.receive(deadline_ns)):
                for frame in frames:
                    self._sort(frame, key_of(frame), requests, replies)
                if self._clock() >= deadline_ns:
                    break  # something may never stop talking
            self._counters.timeouts += len(requests) - len(replies)
        return replies

    def listen(self, seconds: float) -> list[Frame]:
        """All that arrives meanwhile. Raises BusError."""
        deadline_ns = self._clock() + round(seconds * 1e9)
        heard: list[Frame] = []
        while frames := self.wire.receive(deadline_ns):
            heard += frames
            if self._clock() >= deadline_ns:
                break
        for frame in heard:
            self._unasked(frame)
        return heard

    def send(self, *frames: Frame) -> None:
        """What has no reply. Raises BusError."""
        self.wire.send(frames, self._clock() + self._reply_ns)

    def drain(self) -> None:
        """Hands all that is there to ``unasked``. Raises BusError."""
        for frame in self.wire.receive(0):
            self._other(frame)

    def _sort(
        self, frame: Frame, key: Key | None, requests: Mapping[Key, Frame], replies: dict[Key, Frame]
    ) -> None:
        if key is not None and key in requests and key not in replies:
            replies[key] = frame
        else:
            self._other(frame)

    def _other(self, frame: Frame) -> None:
        self.others.append(frame)
        self._unasked(frame)


def count_health(counters: BusCounters, wire: FrameTransport) -> BusCounters:
    """``counters`` with what the wire's controller says of itself."""
    health = wire.health()
    counters.checksum_errors = health.error_frames
    counters.error_passive, counters.bus_off, counters.full = (
        health.error_passive,
        health.bus_off,
        health.full,
    )
    return counters


def bus_trouble(wire: FrameTransport) -> str:
    """What the wire's controller says that may silence motors, to append to a message; or nothing."""
    health = wire.health()
    if health.state == "off":
        return "; the controller is off the bus"
    if count := health.error_frames:
        return f"; {count} error frames, as a wrong bit rate or a line without termination makes them"
    return ""
