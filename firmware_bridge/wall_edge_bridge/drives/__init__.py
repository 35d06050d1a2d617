"""Joint groups behind one contract."""

from wall_edge_bridge.drives.base import Drive
from wall_edge_bridge.drives.joints import ImpedanceJoint, Joint, OffsetJoint
from wall_edge_bridge.drives.settings import CanSettings, DriveSettings, SerialSettings
from wall_edge_bridge.drives.values import BusCounters, Capabilities, Fault, Feedback, Reaction, Setpoints

__all__ = [
    "BusCounters",
    "CanSettings",
    "Capabilities",
    "Drive",
    "DriveSettings",
    "Fault",
    "Feedback",
    "ImpedanceJoint",
    "Joint",
    "OffsetJoint",
    "Reaction",
    "SerialSettings",
    "Setpoints",
]
