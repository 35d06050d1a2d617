"""Damiao motors from the other side of the wire."""

from wall_edge_bridge.kinds.damiao.twin.bridge import BridgeTwin
from wall_edge_bridge.kinds.damiao.twin.can_twin import DamiaoTwin
from wall_edge_bridge.kinds.damiao.twin.motor import SimulatedMotor

__all__ = ["BridgeTwin", "DamiaoTwin", "SimulatedMotor"]
