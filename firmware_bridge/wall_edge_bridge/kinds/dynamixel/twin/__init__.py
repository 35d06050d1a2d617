"""Dynamixel motors from the other side of the wire."""

from wall_edge_bridge.kinds.dynamixel.twin.bus import DynamixelTwin, make_twin
from wall_edge_bridge.kinds.dynamixel.twin.motor import SimulatedMotor

__all__ = ["DynamixelTwin", "SimulatedMotor", "make_twin"]
