"""ODrive motor controllers on CAN (CANSimple), firmware 0.6 and 0.5."""

from wall_edge_bridge.kinds.odrive.settings import (
    CAPABILITIES,
    IDS,
    ODriveEndpoints,
    ODriveJoint,
    ODriveSettings,
)
from wall_edge_bridge.kinds.registry import Kind

__all__ = ["KIND", "ODriveEndpoints", "ODriveJoint", "ODriveSettings"]

KIND = Kind(
    name="odrive",
    settings=ODriveSettings,
    joint=ODriveJoint,
    capabilities=CAPABILITIES,
    ids=IDS,
    package=__name__,
    sets_id=True,
)
