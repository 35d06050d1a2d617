"""RobStride motors on CAN, by the protocol that they leave the factory with (29-bit identifiers)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wall_edge_bridge.kinds.registry import Found, Kind
from wall_edge_bridge.kinds.robstride.settings import CAPABILITIES, IDS, RobStrideJoint, RobStrideSettings
from wall_edge_bridge.transport import FrameTransport

if TYPE_CHECKING:
    from wall_edge_bridge.kinds.robstride.drive import RobStrideDrive
    from wall_edge_bridge.kinds.robstride.twin import RobStrideTwin

__all__ = ["KIND", "RobStrideJoint", "RobStrideSettings"]


def _open_drive(
    settings: RobStrideSettings,
    joints: Sequence[RobStrideJoint],
    wire: FrameTransport,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    start_slack_rad: float = 0.0,
) -> RobStrideDrive:
    from wall_edge_bridge.kinds.robstride.drive import RobStrideDrive

    return RobStrideDrive(settings, joints, wire, clock=clock, start_slack_rad=start_slack_rad)


def _make_twin(
    settings: RobStrideSettings, joints: Sequence[RobStrideJoint], positions: Any, *, timed: bool = False
) -> RobStrideTwin:
    from wall_edge_bridge.kinds.robstride.twin import RobStrideTwin

    return RobStrideTwin(settings, joints, positions, timed=timed)


def _cycle_ns(settings: RobStrideSettings, joints: Sequence[RobStrideJoint]) -> int:
    from wall_edge_bridge.kinds.robstride.tools import cycle_ns

    return cycle_ns(settings, joints)


def _scan(
    settings: RobStrideSettings,
    wire: FrameTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[Found]:
    from wall_edge_bridge.kinds.robstride.tools import scan

    return scan(settings, wire, ids, clock)


def _set_id(
    settings: RobStrideSettings,
    wire: FrameTransport,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    from wall_edge_bridge.kinds.robstride.tools import set_id

    set_id(settings, wire, old, new, clock)


KIND = Kind(
    name="robstride",
    settings=RobStrideSettings,
    joint=RobStrideJoint,
    capabilities=CAPABILITIES,
    open_drive=_open_drive,
    make_twin=_make_twin,
    cycle_ns=_cycle_ns,
    scan=_scan,
    ids=IDS,
    set_id=_set_id,
)
