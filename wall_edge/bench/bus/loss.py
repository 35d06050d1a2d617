"""What one lost reply costs, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wall_edge_bridge.drives import DriveSettings, Joint, Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds import Kind
from wall_edge_bridge.sim import VirtualClock

from wall_edge.bench.bus.alone import powered
from wall_edge.errors import BusError, BusTimeout

_BEFORE_LOSS = 5
_PATIENCE_CYCLES = 100


class LossFigures(NamedTuple):
    """What one lost reply costs."""

    extra_cycles: int
    """Cycles that were not whole; 1 is the one that lost it."""
    joints: int
    """Joints without a fresh reading in the worst of them."""
    ms: float
    """How much longer than the line allows the longest of them took: where nothing tells that a reply is
    lost, it is waited for until the drive's ``timeout_ms``."""


def cycles_after_loss(
    kind: Kind, settings: DriveSettings, joints: Sequence[Joint], rest: Floats
) -> LossFigures:
    """In virtual time, the worst of all replies of a cycle. Raises BusError when it does not recover."""
    each = [_after_loss(kind, settings, joints, rest, nth + 1) for nth in range(len(joints))]
    return LossFigures(
        max(loss.extra_cycles for loss in each),
        max(loss.joints for loss in each),
        max(loss.ms for loss in each),
    )


def _after_loss(
    kind: Kind, settings: DriveSettings, joints: Sequence[Joint], rest: Floats, nth: int
) -> LossFigures:
    clock = VirtualClock()
    drive, twin = powered(kind, settings, joints, rest, clock)
    setpoints, timeout_ns = Setpoints.hold(rest), round(settings.timeout_ms * 1e6)
    for _ in range(_BEFORE_LOSS):
        drive.cycle(setpoints, clock() + timeout_ns)
    twin.replies.drop(nth)
    broken, most, whole, longest_ns = 0, 0, 0, 0
    while whole < len(joints):  # the lost one may be of a cycle to come
        start_ns = clock()
        try:
            received_ns = drive.cycle(setpoints, start_ns + timeout_ns).received_ns
            old = int((received_ns < start_ns).sum())
        except BusTimeout:
            old = len(joints)
        broken, most, whole = broken + (old > 0), max(most, old), 0 if old else whole + 1
        longest_ns = max(longest_ns, clock() - start_ns)
        if broken > _PATIENCE_CYCLES:
            raise BusError(f"{settings.kind} does not recover from a lost reply in {broken} cycles")
    line_ns = kind.cycle_ns(settings, joints)
    return LossFigures(broken, most, max(0, longest_ns - line_ns) / 1e6)
