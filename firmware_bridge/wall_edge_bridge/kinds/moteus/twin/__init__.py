"""moteus controllers from the other side of the wire."""

from wall_edge_bridge.kinds.moteus.twin.bus import MoteusTwin, make_twin
from wall_edge_bridge.kinds.moteus.twin.motor import MoteusMotor

__all__ = ["MoteusMotor", "MoteusTwin", "make_twin"]
