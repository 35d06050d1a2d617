"""The same protocols, spoken from the motors' side: what the twins of all kinds share."""

from wall_edge_bridge.sim.base import ByteTwin, FrameTwin, Twin
from wall_edge_bridge.sim.pty import PtyPort, answer, serve, serving
from wall_edge_bridge.sim.wires import ByteWire, FrameWire, VirtualClock, wire_to

__all__ = [
    "ByteTwin",
    "ByteWire",
    "FrameTwin",
    "FrameWire",
    "PtyPort",
    "Twin",
    "VirtualClock",
    "answer",
    "serve",
    "serving",
    "wire_to",
]
