"""Which RobStride motors are there, and a new id."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.registry import MotorIdentity
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.bus import RobStrideBus
from wall_edge_bridge.kinds.robstride.registers import VBUS
from wall_edge_bridge.kinds.robstride.settings import IDS, RobStrideSettings
from wall_edge_bridge.transport import FrameTransport

_AT_ONCE = 16
"""How many ids are asked together: their replies must fit an adapter's queue."""


def scan(
    settings: RobStrideSettings,
    wire: FrameTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[MotorIdentity]:
    """Asks each id who it is, and those that answer for their voltage. Raises BusError."""
    bus = RobStrideBus(wire, settings.host_id, BusCounters(), clock)
    waiting = sorted(set(ids) & set(IDS))
    while waiting:
        batch, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        identities = bus.identities(batch, attempts=1)
        volts = bus.read(VBUS, sorted(identities), attempts=1)
        for motor in sorted(identities):
            supply = volts.get(motor)
            for uid in sorted(identities[motor]):
                detail = f"unique id {uid.hex()}"
                if supply is not None:
                    detail += f", {supply:.1f} V"
                yield MotorIdentity(motor, "robstride", detail=detail)


def set_id(
    settings: RobStrideSettings,
    wire: FrameTransport,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """The motor takes it at once and keeps it. Raises DriveError, BusTimeout, BusError."""
    if new not in IDS or old == new:
        raise DriveError(f"id {new}", expected=f"{IDS[0]} to {IDS[-1]}, other than {old}")
    bus = RobStrideBus(wire, settings.host_id, BusCounters(), clock)
    before = bus.identities([old, new])
    if new in before:
        raise DriveError(f"id {new} has a motor already", expected="a free id")
    if old not in before:
        raise BusTimeout(f"no answer from id {old} on {wire.description}", fix="check power, cable and id")
    if len(before[old]) > 1:
        raise DriveError(f"{len(before[old])} motors answer to id {old}", fix="connect one at a time")
    bus.exchange.send(codec.set_id(settings.host_id, old, new))
    bus.exchange.listen(0.05)
    after = bus.identities([old, new])
    if after != {new: before[old]}:
        raise DriveError(
            f"after a change of id {old} to {new}, motors answer to {sorted(after)}",
            expected=f"{new} alone",
            fix="scan the bus, then power-cycle the motor",
        )
