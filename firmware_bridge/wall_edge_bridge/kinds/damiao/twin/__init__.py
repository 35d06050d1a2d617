"""Damiao motors from the other side of the wire."""

from wall_edge_bridge.kinds.damiao.twin.bridge import BridgeTwin, make_twin
from wall_edge_bridge.kinds.damiao.twin.bus import DamiaoTwin
from wall_edge_bridge.kinds.damiao.twin.motor import SimulatedMotor

__all__ = ["BridgeTwin", "DamiaoTwin", "SimulatedMotor", "make_twin"]
