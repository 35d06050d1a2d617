"""Motors for tests of CAN wires: each frame is answered, so that what arrived can be seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives.joints import Joint
from wall_edge_bridge.sim.base import FrameTwin
from wall_edge_bridge.transport.base import Frame

JOINT = Joint("echo", 1, -1.0, 1.0, 1.0)


class EchoTwin(FrameTwin):
    """Answers a frame with the next id and its data backwards; a remote one with as many ones."""

    def __init__(self) -> None:
        super().__init__([JOINT])
        self.heard: list[Frame] = []

    def handle(self, frame: Frame, now_ns: int) -> list[Frame]:
        self.heard.append(frame._replace(received_ns=0))
        self.replies.put(self.reply(frame), self.replies.request(frame, now_ns))
        return self.collect(now_ns)

    @staticmethod
    def reply(frame: Frame) -> Frame:
        data = b"\1" * len(frame.data) if frame.remote else frame.data[::-1]
        return frame._replace(id=frame.id + 1, data=data, remote=False, received_ns=0)

    def advance(self, now_ns: int) -> None: ...

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        return np.zeros(1)

    def set_positions(self, positions: npt.ArrayLike) -> None: ...

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        return (False,)

    def silence(self, index: int, silent: bool = True) -> None: ...

    def lose_torque(self, index: int) -> None: ...

    def reboot(self, index: int, now_ns: int) -> None: ...

    def shift_zero(self, index: int, radians: float) -> None: ...

    def set_fault(self, index: int, name: str) -> None: ...


@contextmanager
def answering(bus: Any, twin: FrameTwin) -> Iterator[None]:
    """``twin`` on a ``can.BusABC`` of python-can, in a thread, for as long as the context lasts."""
    import can

    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            message = bus.recv(0.02)
            if message is None or message.arbitration_id & 1:  # replies, which udp_multicast gives us back
                continue
            data = bytes(message.dlc) if message.is_remote_frame else bytes(message.data)
            frame = Frame(
                message.arbitration_id,
                data,
                message.is_extended_id,
                message.is_fd,
                message.bitrate_switch,
                0,
                message.is_remote_frame,
            )
            for reply in twin.handle(frame, time.monotonic_ns()):
                bus.send(
                    can.Message(
                        arbitration_id=reply.id,
                        is_extended_id=reply.extended,
                        data=reply.data,
                        is_fd=reply.fd,
                        bitrate_switch=reply.brs,
                    )
                )

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        bus.shutdown()
