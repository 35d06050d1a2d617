"""The figures of one drive of a robot.

A simulated robot's motors are twins whose requests and replies take the time that they take on the line; a
real robot's are asked for feedback and commanded nothing.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TypedDict

import numpy as np
from wall_edge_bridge.drives import Drive, DriveSettings, Joint, Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds import Kind, kind_named
from wall_edge_bridge.transport.opening import open_wire

from wall_edge.bench.bus.alone import WATCHDOG_S, measure_alone
from wall_edge.bench.bus.loss import cycles_after_loss
from wall_edge.bench.bus.served import served
from wall_edge.config import RobotConfig
from wall_edge.errors import BusTimeout

_WINDOW_NS = 250_000_000
_WARM_UP_CYCLES = 20
_PATIENCE_MS = 1000.0
"""With a twin in another process: on a busy machine it may not run for a while."""


class BusFigures(TypedDict):
    """Of one drive. What only twins can tell is None on a real bus."""

    kind: str
    joints: int
    cycles_hz: float
    """Of twins: line and drive, see :mod:`wall_edge.bench.bus.alone`. Of a real bus: as measured."""
    ceiling_hz: float
    """What the line allows, with worst-case stuffing; motors that answer at once."""
    ratio: float
    """``cycles_hz`` / ``ceiling_hz``"""
    protocol_ratio: float | None
    """The same with a drive that computes in no time."""
    drive_cpu_us: float | None
    """Processor time of the drive in one cycle."""
    two_processes_hz: float | None
    """As measured with the twin in a process of its own, through a port or a socket, in real time: it has the
    scheduler's and the twin's time in it, and is no figure of the drive."""
    lost_reply_extra_cycles: int | None
    """Cycles that were not whole because of one lost reply; 1 is the one that lost it."""
    lost_reply_joints: int | None
    """Joints without a fresh reading in that cycle."""
    lost_reply_ms: float | None
    """How much longer that cycle took, when it waits for the reply until ``timeout_ms``."""


def measure_bus(config: RobotConfig, name: str, seconds: float) -> BusFigures:
    """The drive ``name`` alone, ``seconds`` in real time. Raises BusError, DriveError."""
    settings, joints = config.drives[name], config.joints_of(name)
    slack = config.control.start_slack_rad
    if not config.simulated:
        with _opened(settings, joints, slack) as drive:
            return _of_a_real_bus(drive, settings, joints, seconds)
    rest = dict(zip((joint.name for joint in config.joints), config.control.rest, strict=True))
    return measure_twins(settings, joints, np.array([rest[joint.name] for joint in joints]), slack, seconds)


def measure_twins(
    settings: DriveSettings,
    joints: tuple[Joint, ...],
    rest: Floats,
    slack_rad: float = 0.1,
    seconds: float = 0.0,
) -> BusFigures:
    """Twins that hold ``rest`` [dof] rad; in real time too when it may last ``seconds``."""
    kind = kind_named(settings.kind)
    ceiling_hz = 1e9 / kind.cycle_ns(settings, joints)
    alone = measure_alone(kind, settings, joints, rest)
    loss = cycles_after_loss(kind, settings, joints, rest)
    two_hz = None
    if seconds:
        with (
            served(kind.make_twin(settings, joints, rest, timed=True)) as (place,),
            _opened(replace(settings.at(place), timeout_ms=_PATIENCE_MS), joints, slack_rad) as drive,
        ):
            two_hz = _rate(drive, rest, seconds, _PATIENCE_MS)
    return BusFigures(
        kind=settings.kind,
        joints=len(joints),
        cycles_hz=alone.cycles_hz,
        ceiling_hz=ceiling_hz,
        ratio=alone.cycles_hz / ceiling_hz,
        protocol_ratio=alone.protocol_hz / ceiling_hz,
        drive_cpu_us=alone.cpu_us,
        two_processes_hz=two_hz,
        lost_reply_extra_cycles=loss.extra_cycles,
        lost_reply_joints=loss.joints,
        lost_reply_ms=loss.ms,
    )


def _of_a_real_bus(
    drive: Drive, settings: DriveSettings, joints: tuple[Joint, ...], seconds: float
) -> BusFigures:
    cycles_hz = _rate(drive, None, seconds, settings.timeout_ms)
    ceiling_hz = 1e9 / kind_named(settings.kind).cycle_ns(settings, joints)
    return BusFigures(
        kind=settings.kind,
        joints=len(joints),
        cycles_hz=cycles_hz,
        ceiling_hz=ceiling_hz,
        ratio=cycles_hz / ceiling_hz,
        protocol_ratio=None,
        drive_cpu_us=None,
        two_processes_hz=None,
        lost_reply_extra_cycles=None,
        lost_reply_joints=None,
        lost_reply_ms=None,
    )


def _opened(settings: DriveSettings, joints: tuple[Joint, ...], slack_rad: float) -> Drive:
    kind: Kind = kind_named(settings.kind)
    wire = open_wire(settings)
    return kind.open_drive(settings, joints, wire, clock=time.monotonic_ns, start_slack_rad=slack_rad)


def _rate(drive: Drive, hold: Floats | None, seconds: float, timeout_ms: float) -> float:
    """Whole cycles a second, the median of windows of a quarter of one.

    ``hold`` [dof] rad is commanded under torque; with None, feedback alone is asked for.
    """
    setpoints = None if hold is None else Setpoints.hold(hold)
    timeout_ns = round(timeout_ms * 1e6)
    if hold is not None:
        drive.arm_watchdog(WATCHDOG_S)
        drive.enable()
    for _ in range(_WARM_UP_CYCLES):
        _cycle(drive, setpoints, timeout_ns)
    windows: list[float] = []
    end_ns = time.monotonic_ns() + round(seconds * 1e9)
    while not windows or time.monotonic_ns() < end_ns:
        start_ns, cycles = time.monotonic_ns(), 0
        while time.monotonic_ns() - start_ns < _WINDOW_NS:
            cycles += _cycle(drive, setpoints, timeout_ns)
        windows.append(cycles * 1e9 / (time.monotonic_ns() - start_ns))
    if hold is not None:
        drive.disable()
    return statistics.median(windows)


def _cycle(drive: Drive, setpoints: Setpoints | None, timeout_ns: int) -> bool:
    """Whether every joint answered in it."""
    start_ns = time.monotonic_ns()
    try:
        return bool((drive.cycle(setpoints, start_ns + timeout_ns).received_ns >= start_ns).all())
    except BusTimeout:
        return False
