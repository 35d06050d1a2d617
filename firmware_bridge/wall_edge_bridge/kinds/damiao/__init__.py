"""Damiao motors in MIT mode, over CAN 2.0, CAN FD with bit rate switching, or Damiao's USB bridge."""

from wall_edge_bridge.kinds.damiao.settings import CAPABILITIES, IDS, DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.registry import Kind

__all__ = ["KIND", "DamiaoJoint", "DamiaoSettings"]

KIND = Kind(
    name="damiao",
    settings=DamiaoSettings,
    joint=DamiaoJoint,
    capabilities=CAPABILITIES,
    ids=IDS,
    package=__name__,
    sets_id=True,
    mends_id=True,
)
