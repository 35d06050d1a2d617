"""A drive and its twin in one process: every byte or frame of the bus, without a port.

Where ``sleep`` is given, waiting for a reply makes (virtual) time pass; else, or while a wire's ``sleep`` is
None, it never does, and a reply that is not there yet comes too late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wall_edge_bridge.sim.base import ByteTwin, FrameTwin, Twin
from wall_edge_bridge.transport import BusHealth, Frame


class VirtualClock:
    """CLOCK_MONOTONIC of a simulated world [ns]."""

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, until_ns: int) -> None:
        """To an absolute time; at once when it has passed."""
        self.now_ns = max(self.now_ns, until_ns)


class _TwinWire:
    description = "simulated bus"

    def __init__(
        self, twin: Twin[bytes] | Twin[Frame], clock: Callable[[], int], sleep: Callable[[int], None] | None
    ) -> None:
        self._motors, self._clock, self.sleep = twin, clock, sleep

    def _wait(self, deadline_ns: int) -> bool:
        """Whether something is, or will be, there by the deadline; time passes until then, or until it."""
        if self.sleep is None:
            return False
        due_ns = self._motors.due_ns
        if due_ns is None or due_ns > deadline_ns:
            self.sleep(deadline_ns)
            return False
        self.sleep(due_ns)
        return True

    def close(self) -> None:
        """Nothing to release."""


class ByteWire(_TwinWire):
    """A ``ByteTransport`` to simulated motors."""

    def __init__(
        self, twin: ByteTwin, clock: Callable[[], int], sleep: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(twin, clock, sleep)
        self._twin = twin
        self._input = b""

    def send(self, data: bytes, deadline_ns: int) -> None:  # noqa: ARG002
        self._input += self._twin.handle(data, self._clock())

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        self._input += self._twin.collect(self._clock())
        while not self._input and self._wait(deadline_ns):
            self._input += self._twin.collect(self._clock())
        data, self._input = self._input[:at_most], self._input[at_most:]
        return data


class FrameWire(_TwinWire):
    """A ``FrameTransport`` to simulated motors."""

    def __init__(
        self, twin: FrameTwin, clock: Callable[[], int], sleep: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(twin, clock, sleep)
        self._twin = twin
        self._input: list[Frame] = []
        self.trouble = BusHealth()
        """What ``health`` says: tests set it."""

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:  # noqa: ARG002
        for frame in frames:
            self._take(self._twin.handle(frame, self._clock()))

    def receive(self, deadline_ns: int) -> list[Frame]:
        self._take(self._twin.collect(self._clock()))
        while not self._input and self._wait(deadline_ns):
            self._take(self._twin.collect(self._clock()))
        frames, self._input = self._input, []
        return frames

    def health(self) -> BusHealth:
        return self.trouble

    def _take(self, frames: Sequence[Frame]) -> None:
        now_ns = self._clock()
        self._input += [frame._replace(received_ns=now_ns) for frame in frames]


def wire_to(
    twin: ByteTwin | FrameTwin, clock: Callable[[], int], sleep: Callable[[int], None] | None = None
) -> ByteWire | FrameWire:
    """Of the kind that the twin speaks."""
    return ByteWire(twin, clock, sleep) if isinstance(twin, ByteTwin) else FrameWire(twin, clock, sleep)
