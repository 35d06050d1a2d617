"""RobStride motors from the other side of the wire."""

from wall_edge_bridge.kinds.robstride.twin.bus import RobStrideTwin, make_twin
from wall_edge_bridge.kinds.robstride.twin.motor import SimulatedRobStride

__all__ = ["RobStrideTwin", "SimulatedRobStride", "make_twin"]
