"""Simulated Damiao motors on a python-can ``virtual`` bus, answering in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from wall_edge_bridge.kinds.damiao import DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.damiao.twin import DamiaoTwin
from wall_edge_bridge.transport.python_can import PythonCanTransport

can = pytest.importorskip("can")

JOINTS = tuple(
    DamiaoJoint(f"joint_{i}", id=i, lower=-1.5, upper=1.5, max_velocity=6.0, model=model)
    for i, model in enumerate(
        ("DM8009", "DM8009", "DM4340", "DM4340P", "DM4310", "DM4310", "DM4310"), start=1
    )
)
START = np.linspace(-0.6, 0.6, 7)


@contextlib.contextmanager
def on_virtual_bus(channel: str, settings: DamiaoSettings | None = None) -> Iterator[DamiaoTwin]:
    """The motors, for as long as the context lasts."""
    twin = DamiaoTwin(settings or DamiaoSettings(), JOINTS, START)
    stop = threading.Event()
    with can.Bus(channel, interface="virtual") as bus:
        wire = PythonCanTransport(bus, channel)

        def serve() -> None:
            while not stop.is_set():
                for frame in wire.receive(time.monotonic_ns() + 10_000_000):
                    now_ns = time.monotonic_ns()
                    wire.send(twin.handle(frame._replace(received_ns=0), now_ns), now_ns + 10_000_000)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield twin
        finally:
            stop.set()
            thread.join()
