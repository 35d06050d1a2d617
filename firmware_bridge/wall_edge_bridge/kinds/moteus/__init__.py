"""mjbots moteus controllers on CAN FD. Commands are made and replies are read with mjbots' own library.

``pip install 'wall-edge[moteus]'``. A moteus has its id in its configuration (``id.id``), which only its
diagnostic stream reaches: mjbots' ``moteus_tool`` or ``tview`` changes it, not this kind.
"""

from wall_edge_bridge.kinds.moteus.settings import CAPABILITIES, IDS, MoteusJoint, MoteusSettings
from wall_edge_bridge.kinds.registry import Kind

__all__ = ["KIND", "MoteusJoint", "MoteusSettings"]

KIND = Kind(
    name="moteus",
    settings=MoteusSettings,
    joint=MoteusJoint,
    capabilities=CAPABILITIES,
    ids=IDS,
    package=__name__,
    needs=("moteus",),
)
