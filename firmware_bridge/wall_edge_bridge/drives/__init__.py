"""Joint groups behind one contract."""

from wall_edge_bridge.drives.base import BusCounters, Drive, Feedback, JointSpec
from wall_edge_bridge.drives.feetech import FeetechDrive

__all__ = ["BusCounters", "Drive", "Feedback", "FeetechDrive", "JointSpec"]
