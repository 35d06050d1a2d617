"""Servo drives with CANopen's motion profile CiA 402, in cyclic synchronous position mode (CSP).

``pip install 'wall-edge[cia402]'``: ``canopen`` configures; the tick packs its PDOs itself. A node's id is
set by switches or its maker's tool: LSS, CANopen's own way, is optional and few drives have it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wall_edge_bridge.kinds.cia402.settings import CAPABILITIES, IDS, Cia402Joint, Cia402Settings
from wall_edge_bridge.kinds.registry import Found, Kind

if TYPE_CHECKING:
    from wall_edge_bridge.kinds.cia402.drive import Cia402Drive
    from wall_edge_bridge.kinds.cia402.twin import Cia402Twin


def _open_drive(
    settings: Cia402Settings, joints: Sequence[Cia402Joint], wire: Any, **more: Any
) -> Cia402Drive:
    from wall_edge_bridge.kinds.cia402.drive import Cia402Drive

    return Cia402Drive(settings, joints, wire, **more)


def _make_twin(
    settings: Cia402Settings, joints: Sequence[Cia402Joint], positions: Any, *, timed: bool = False
) -> Cia402Twin:
    from wall_edge_bridge.kinds.cia402.twin import Cia402Twin

    return Cia402Twin(settings, joints, positions, timed=timed)


def _cycle_ns(settings: Cia402Settings, joints: Sequence[Cia402Joint]) -> int:
    from wall_edge_bridge.kinds.cia402.codec import cycle_ns

    return cycle_ns(settings.bitrate, [joint.id for joint in joints])


def _scan(settings: Cia402Settings, wire: Any, ids: Iterable[int], **more: Any) -> Iterator[Found]:
    from wall_edge_bridge.kinds.cia402.scan import scan

    return scan(wire, ids, settings.timeout_ms, **more)


_KIND = Kind(
    name="cia402",
    settings=Cia402Settings,
    joint=Cia402Joint,
    capabilities=CAPABILITIES,
    open_drive=_open_drive,
    make_twin=_make_twin,
    cycle_ns=_cycle_ns,
    scan=_scan,
    ids=IDS,
)


def __getattr__(name: str) -> Kind:
    """``KIND``: ImportError without ``canopen``, which only ``kind_named`` then turns into advice."""
    if name != "KIND":
        raise AttributeError(name)
    for library in ("can", "canopen"):
        if importlib.util.find_spec(library) is None:
            raise ImportError(f"no {library}", name=library)
    return _KIND
