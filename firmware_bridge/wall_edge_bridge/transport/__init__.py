"""Wires to the motors."""

from wall_edge_bridge.transport.base import BusHealth, ByteTransport, Frame, FrameTransport, Wire
from wall_edge_bridge.transport.serial import SerialTransport

__all__ = ["BusHealth", "ByteTransport", "Frame", "FrameTransport", "SerialTransport", "Wire"]
