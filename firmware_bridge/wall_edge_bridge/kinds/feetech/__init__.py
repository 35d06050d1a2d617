"""Feetech STS servos (SO-100, SO-101 and kin): half-duplex serial, a sync write and a sync read a cycle."""

from wall_edge_bridge.kinds.feetech.settings import CAPABILITIES, IDS, FeetechJoint, FeetechSettings
from wall_edge_bridge.kinds.registry import Kind

__all__ = ["KIND", "FeetechJoint", "FeetechSettings"]

KIND = Kind(
    name="feetech",
    settings=FeetechSettings,
    joint=FeetechJoint,
    capabilities=CAPABILITIES,
    ids=IDS,
    package=__name__,
    sets_id=True,
)
