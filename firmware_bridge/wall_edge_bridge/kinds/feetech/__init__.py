"""Feetech STS servos (SO-100, SO-101 and kin): half-duplex serial, a sync write and a sync read a cycle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from wall_edge_bridge.kinds.feetech.settings import (
    CAPABILITIES,
    MAX_SERVO_ID,
    FeetechJoint,
    FeetechSettings,
)
from wall_edge_bridge.kinds.registry import Found, Kind
from wall_edge_bridge.transport import ByteTransport

if TYPE_CHECKING:
    import numpy.typing as npt

    from wall_edge_bridge.kinds.feetech.drive import FeetechDrive
    from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
__all__ = ["KIND", "FeetechJoint", "FeetechSettings"]


def _open_drive(
    settings: FeetechSettings,
    joints: Sequence[FeetechJoint],
    wire: ByteTransport,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    start_slack_rad: float = 0.0,
) -> FeetechDrive:
    from wall_edge_bridge.kinds.feetech.drive import FeetechDrive

    return FeetechDrive(settings, joints, wire, clock=clock, start_slack_rad=start_slack_rad)


def _make_twin(
    settings: FeetechSettings,
    joints: Sequence[FeetechJoint],
    positions: npt.ArrayLike | None = None,
    *,
    timed: bool = False,
) -> FeetechTwin:
    from wall_edge_bridge.kinds.feetech.twin import FeetechTwin

    return FeetechTwin(joints, positions, timed_baudrate=settings.baudrate if timed else None)


def _cycle_ns(settings: FeetechSettings, joints: Sequence[FeetechJoint]) -> int:
    from wall_edge_bridge.kinds.feetech.codec import cycle_bytes
    from wall_edge_bridge.sim.line import serial_duration

    return serial_duration(settings.baudrate)(bytes(cycle_bytes(len(joints))))


def _scan(
    settings: FeetechSettings,
    wire: ByteTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[Found]:
    from wall_edge_bridge.kinds.feetech.identity import scan

    return scan(settings, wire, ids, clock)


def _set_id(
    settings: FeetechSettings,
    wire: ByteTransport,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    from wall_edge_bridge.kinds.feetech.identity import set_id

    set_id(settings, wire, old, new, clock)


KIND = Kind(
    name="feetech",
    settings=FeetechSettings,
    joint=FeetechJoint,
    capabilities=CAPABILITIES,
    open_drive=_open_drive,
    make_twin=_make_twin,
    cycle_ns=_cycle_ns,
    scan=_scan,
    ids=range(MAX_SERVO_ID + 1),
    set_id=_set_id,
)
