"""Servo drives with CANopen's motion profile CiA 402, in cyclic synchronous position mode (CSP).

``pip install 'wall-edge[cia402]'``: ``canopen`` configures; the tick packs its PDOs itself. A node's id is
set by switches or its maker's tool: LSS, CANopen's own way, is optional and few drives have it.
"""

from wall_edge_bridge.kinds.cia402.settings import CAPABILITIES, IDS, Cia402Joint, Cia402Settings
from wall_edge_bridge.kinds.registry import Kind

__all__ = ["KIND", "Cia402Joint", "Cia402Settings"]

KIND = Kind(
    name="cia402",
    settings=Cia402Settings,
    joint=Cia402Joint,
    capabilities=CAPABILITIES,
    ids=IDS,
    package=__name__,
    needs=("can", "canopen"),
)
