"""A twin behind python-can, in real time, for clients of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wall_edge_bridge.sim import FrameTwin
from wall_edge_bridge.transport import Frame


def as_message(frame: Frame) -> Any:
    """A can.Message."""
    import can

    return can.Message(
        arbitration_id=frame.id,
        data=frame.data,
        is_extended_id=frame.extended,
        is_remote_frame=frame.remote,
        is_fd=frame.fd,
        bitrate_switch=frame.brs,
    )


def as_frame(message: Any) -> Frame:
    """Of a can.Message."""
    return Frame(
        message.arbitration_id,
        bytes(message.data),
        message.is_extended_id,
        message.is_fd,
        message.bitrate_switch,
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
