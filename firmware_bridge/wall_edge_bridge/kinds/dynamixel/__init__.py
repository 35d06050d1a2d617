"""Dynamixel motors of the X series (XL330, XL430, XC, XM, XH, XW) on a serial bus, Protocol 2.0."""

from wall_edge_bridge.kinds.dynamixel.settings import (
    CAPABILITIES,
    IDS,
    DynamixelJoint,
    DynamixelSettings,
)
from wall_edge_bridge.kinds.registry import Kind

__all__ = ["KIND", "DynamixelJoint", "DynamixelSettings"]

KIND = Kind(
    name="dynamixel",
    settings=DynamixelSettings,
    joint=DynamixelJoint,
    capabilities=CAPABILITIES,
    ids=IDS,
    package=__name__,
    sets_id=True,
)
