"""mjbots moteus controllers on CAN FD. Commands are made and replies are read with mjbots' own library.

``pip install 'wall-edge[moteus]'``. A moteus has its id in its configuration (``id.id``), which only its
diagnostic stream reaches: mjbots' ``moteus_tool`` or ``tview`` changes it, not this kind.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wall_edge_bridge.kinds.moteus.settings import CAPABILITIES, IDS, MoteusJoint, MoteusSettings
from wall_edge_bridge.kinds.registry import Found, Kind

if TYPE_CHECKING:
    from wall_edge_bridge.kinds.moteus.drive import MoteusDrive
    from wall_edge_bridge.kinds.moteus.twin import MoteusTwin


def _open_drive(
    settings: MoteusSettings, joints: Sequence[MoteusJoint], wire: Any, **more: Any
) -> MoteusDrive:
    from wall_edge_bridge.kinds.moteus.drive import MoteusDrive

    return MoteusDrive(settings, joints, wire, **more)


def _make_twin(
    settings: MoteusSettings, joints: Sequence[MoteusJoint], positions: Any, *, timed: bool = False
) -> MoteusTwin:
    from wall_edge_bridge.kinds.moteus.twin import MoteusTwin

    return MoteusTwin(settings, joints, positions, timed=timed)


def _cycle_ns(settings: MoteusSettings, joints: Sequence[MoteusJoint]) -> int:
    from wall_edge_bridge.kinds.moteus.frames import cycle_ns

    return cycle_ns(settings, joints)


def _scan(settings: MoteusSettings, wire: Any, ids: Iterable[int], **more: Any) -> Iterator[Found]:  # noqa: ARG001
    from wall_edge_bridge.kinds.moteus.scan import scan

    return scan(wire, ids, **more)


_KIND = Kind(
    name="moteus",
    settings=MoteusSettings,
    joint=MoteusJoint,
    capabilities=CAPABILITIES,
    open_drive=_open_drive,
    make_twin=_make_twin,
    cycle_ns=_cycle_ns,
    scan=_scan,
    ids=IDS,
)


def __getattr__(name: str) -> Kind:
    """``KIND``: ImportError without mjbots' library, which only ``kind_named`` then turns into advice."""
    if name != "KIND":
        raise AttributeError(name)
    if importlib.util.find_spec("moteus") is None:
        raise ImportError("no moteus", name="moteus")
    return _KIND
