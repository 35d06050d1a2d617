"""CiA 402 drives from the other side of the wire."""

from wall_edge_bridge.kinds.cia402.twin.bus import Cia402Twin, make_twin
from wall_edge_bridge.kinds.cia402.twin.machine import Machine
from wall_edge_bridge.kinds.cia402.twin.node import Node

__all__ = ["Cia402Twin", "Machine", "Node", "make_twin"]
