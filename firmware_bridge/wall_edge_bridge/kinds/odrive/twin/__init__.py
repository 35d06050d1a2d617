"""ODrives from the other side of the wire."""

from wall_edge_bridge.kinds.odrive.twin.bus import ODriveTwin, make_twin
from wall_edge_bridge.kinds.odrive.twin.motor import SimulatedODrive

__all__ = ["ODriveTwin", "SimulatedODrive", "make_twin"]
