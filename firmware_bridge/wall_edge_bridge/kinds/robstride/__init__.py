"""RobStride motors on CAN, by the protocol that they leave the factory with (29-bit identifiers)."""

from wall_edge_bridge.kinds.registry import Kind
from wall_edge_bridge.kinds.robstride.settings import (
    CAPABILITIES,
    IDS,
    RobStrideJoint,
    RobStrideSettings,
)

__all__ = ["KIND", "RobStrideJoint", "RobStrideSettings"]

KIND = Kind(
    name="robstride",
    settings=RobStrideSettings,
    joint=RobStrideJoint,
    capabilities=CAPABILITIES,
    ids=IDS,
    package=__name__,
    sets_id=True,
)
