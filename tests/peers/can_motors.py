"""Behind python-can, in real time: a twin for clients of others, a wire to motors of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from wall_edge_bridge.sim.base import FrameTwin
from wall_edge_bridge.transport.base import BusHealth, Frame


def as_message(frame: Frame) -> Any:
    """A can.Message."""
    import can

    return can.Message(
        arbitration_id=frame.id,
        data=frame.data,
        is_extended_id=frame.extended,
        is_remote_frame=frame.remote,
    )


def as_frame(message: Any) -> Frame:
    """Of a can.Message."""
    return Frame(
        message.arbitration_id,
        bytes(message.data),
        message.is_extended_id,
        received_ns=time.monotonic_ns(),
        remote=message.is_remote_frame,
    )


@contextmanager
def serving(twin: FrameTwin, channel: str) -> Iterator[None]:
    """``twin`` answers on python-can's virtual channel meanwhile."""
    import can

    bus = can.Bus(interface="virtual", channel=channel)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            message = bus.recv(timeout=0.001)
            now_ns = time.monotonic_ns()
            frames = twin.handle(as_frame(message), now_ns) if message else twin.collect(now_ns)
            for frame in frames:
                bus.send(as_message(frame))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        bus.shutdown()


class CanWire:
    """A FrameTransport over python-can's virtual channel."""

    def __init__(self, channel: str) -> None:
        import can

        self.description = f"virtual {channel}"
        self._bus = can.Bus(interface="virtual", channel=channel)

    def send(self, frames: Sequence[Frame], deadline_ns: int) -> None:  # noqa: ARG002
        for frame in frames:
            self._bus.send(as_message(frame))

    def receive(self, deadline_ns: int) -> list[Frame]:
        wait_s = max(0.0, (deadline_ns - time.monotonic_ns()) * 1e-9)
        messages = [self._bus.recv(timeout=wait_s)]
        while messages[-1] is not None:
            messages.append(self._bus.recv(timeout=0))
        return [as_frame(message) for message in messages if message is not None]

    def health(self) -> BusHealth:
        return BusHealth()

    def close(self) -> None:
        with suppress(Exception):
            self._bus.shutdown()
