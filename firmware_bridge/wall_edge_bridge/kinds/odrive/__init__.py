"""ODrive motor controllers on CAN (CANSimple), firmware 0.6 and 0.5."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wall_edge_bridge.kinds.odrive.settings import (
    CAPABILITIES,
    IDS,
    ODriveEndpoints,
    ODriveJoint,
    ODriveSettings,
)
from wall_edge_bridge.kinds.registry import Found, Kind
from wall_edge_bridge.transport import FrameTransport

if TYPE_CHECKING:
    from wall_edge_bridge.kinds.odrive.drive import ODriveDrive
    from wall_edge_bridge.kinds.odrive.twin import ODriveTwin

__all__ = ["KIND", "ODriveEndpoints", "ODriveJoint", "ODriveSettings"]


def _open_drive(
    settings: ODriveSettings,
    joints: Sequence[ODriveJoint],
    wire: FrameTransport,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    start_slack_rad: float = 0.0,
) -> ODriveDrive:
    from wall_edge_bridge.kinds.odrive.drive import ODriveDrive

    return ODriveDrive(settings, joints, wire, clock=clock, start_slack_rad=start_slack_rad)


def _make_twin(
    settings: ODriveSettings, joints: Sequence[ODriveJoint], positions: Any, *, timed: bool = False
) -> ODriveTwin:
    from wall_edge_bridge.kinds.odrive.twin import ODriveTwin

    return ODriveTwin(settings, joints, positions, timed=timed)


def _cycle_ns(settings: ODriveSettings, joints: Sequence[ODriveJoint]) -> int:
    from wall_edge_bridge.kinds.odrive.tools import cycle_ns

    return cycle_ns(settings, joints)


def _scan(
    settings: ODriveSettings,
    wire: FrameTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[Found]:
    from wall_edge_bridge.kinds.odrive.tools import scan

    return scan(settings, wire, ids, clock)


def _set_id(
    settings: ODriveSettings,
    wire: FrameTransport,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    from wall_edge_bridge.kinds.odrive.tools import set_id

    set_id(settings, wire, old, new, clock)


KIND = Kind(
    name="odrive",
    settings=ODriveSettings,
    joint=ODriveJoint,
    capabilities=CAPABILITIES,
    open_drive=_open_drive,
    make_twin=_make_twin,
    cycle_ns=_cycle_ns,
    scan=_scan,
    ids=IDS,
    set_id=_set_id,
)
