"""Wires to the motors."""

from wall_edge_bridge.transport.base import Transport
from wall_edge_bridge.transport.serial import SerialTransport

__all__ = ["SerialTransport", "Transport"]
