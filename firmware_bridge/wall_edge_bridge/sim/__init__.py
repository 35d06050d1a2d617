"""The same protocols, spoken from the motors' side: what the twins of all kinds share."""

from wall_edge_bridge.sim.base import ByteTwin, FrameTwin, Twin
from wall_edge_bridge.sim.pty import PtyPort, answer
from wall_edge_bridge.sim.stations import (
    PtyStation,
    serve,
    serving,
    serving_frames,
    serving_port,
    station_for,
)
from wall_edge_bridge.sim.wires import ByteWire, FrameWire, VirtualClock, wire_to

__all__ = [
    "ByteTwin",
    "ByteWire",
    "FrameTwin",
    "FrameWire",
    "PtyPort",
    "PtyStation",
    "Twin",
    "VirtualClock",
    "answer",
    "serve",
    "serving",
    "serving_frames",
    "serving_port",
    "station_for",
    "wire_to",
]
