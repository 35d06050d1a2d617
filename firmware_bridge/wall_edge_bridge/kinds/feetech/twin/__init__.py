"""Feetech servos from the other side of the wire."""

from wall_edge_bridge.kinds.feetech.twin.bus import FeetechTwin, make_twin
from wall_edge_bridge.kinds.feetech.twin.motor import SimulatedServo

__all__ = ["FeetechTwin", "SimulatedServo", "make_twin"]
