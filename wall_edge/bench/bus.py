"""How fast each bus of a robot goes, beside what its line allows: ``wall-edge bench bus``.

A simulated robot's motors are twins whose requests and replies take the time that they take on the line, in
a process of their own that does nothing else; a real robot's are asked for feedback and commanded nothing.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TypedDict

import numpy as np
from wall_edge_bridge.drives import Drive, DriveSettings, Joint, Setpoints
from wall_edge_bridge.kinds import Kind, kind_named
from wall_edge_bridge.sim import ByteTwin, FrameTwin, VirtualClock, station_for, wire_to
from wall_edge_bridge.sim.stations import Station, wait
from wall_edge_bridge.transport.opening import open_wire

from wall_edge.config import RobotConfig
from wall_edge.errors import BusError, BusTimeout

_WINDOW_NS = 250_000_000
_WARM_UP_CYCLES = 20
_BEFORE_LOSS = 5
_PATIENCE_CYCLES = 100


class BusFigures(TypedDict):
    """Of one drive."""

    kind: str
    joints: int
    cycles_hz: float
    """Median over windows of a quarter of a second."""
    ceiling_hz: float
    """What the line allows, with worst-case stuffing; motors that answer at once."""
    ratio: float
    lost_reply_extra_cycles: int | None
    """Cycles that were not whole because of one lost reply; None on a real bus, where nothing is lost on
    purpose."""


def measure_bus(config: RobotConfig, name: str, seconds: float) -> BusFigures:
    """The drive ``name`` alone. Raises BusError, DriveError."""
    settings, joints = config.drives[name], config.joints_of(name)
    kind = kind_named(settings.kind)
    ceiling_hz = 1e9 / kind.cycle_ns(settings, joints)
    rest = np.array(
        [angle for angle, j in zip(config.control.rest, config.joints, strict=True) if j in joints]
    )
    with _place(kind, settings, joints, rest, config.simulated) as there:
        wire = open_wire(there)
        slack = config.control.start_slack_rad
        with kind.open_drive(there, joints, wire, clock=time.monotonic_ns, start_slack_rad=slack) as drive:
            cycles_hz = _rate(drive, settings, rest if config.simulated else None, seconds)
    return BusFigures(
        kind=settings.kind,
        joints=len(joints),
        cycles_hz=cycles_hz,
        ceiling_hz=ceiling_hz,
        ratio=cycles_hz / ceiling_hz,
        lost_reply_extra_cycles=cycles_after_loss(kind, settings, joints, rest) if config.simulated else None,
    )


def _rate(drive: Drive, settings: DriveSettings, hold: np.ndarray | None, seconds: float) -> float:
    """Whole cycles a second: [dof] ``hold`` rad commanded under torque, or feedback alone."""
    setpoints = None if hold is None else Setpoints.hold(hold)
    timeout_ns = round(settings.timeout_ms * 1e6)
    if hold is not None:
        drive.enable()
    windows: list[float] = []
    for _ in range(_WARM_UP_CYCLES):
        _cycle(drive, setpoints, timeout_ns)
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


def cycles_after_loss(
    kind: Kind, settings: DriveSettings, joints: tuple[Joint, ...], rest: np.ndarray
) -> int:
    """Cycles that are not whole when one reply is lost, in virtual time; 1 is the one that lost it.

    Raises BusError when that never ends.
    """
    clock = VirtualClock()
    twin = kind.make_twin(settings, joints, rest, timed=True)
    wire = wire_to(twin, clock, clock.sleep)
    drive = kind.open_drive(settings, joints, wire, clock=clock, start_slack_rad=0.1)
    drive.connect()
    drive.enable()
    setpoints, timeout_ns = Setpoints.hold(rest), round(settings.timeout_ms * 1e6)
    for _ in range(_BEFORE_LOSS):
        drive.cycle(setpoints, clock() + timeout_ns)
    twin.replies.drop(1)
    for broken in range(_PATIENCE_CYCLES):
        start_ns = clock()
        try:
            received_ns = drive.cycle(setpoints, start_ns + timeout_ns).received_ns
        except BusTimeout:
            continue
        if (received_ns >= start_ns).all():
            return broken
    raise BusError(f"{settings.kind} does not recover from a lost reply within {_PATIENCE_CYCLES} cycles")


@contextmanager
def _place(
    kind: Kind, settings: DriveSettings, joints: tuple[Joint, ...], rest: np.ndarray, simulated: bool
) -> Iterator[DriveSettings]:
    """Settings that lead to the motors."""
    if not simulated:
        yield settings
        return
    with served(kind.make_twin(settings, joints, rest, timed=True)) as (place,):
        yield settings.at(place)


@contextmanager
def served(*twins: ByteTwin | FrameTwin) -> Iterator[list[str]]:
    """Where twins answer, in a process that watches nothing else and never sleeps: the line's time counts."""
    stations = [station_for(twin) for twin in twins]
    ours, theirs = multiprocessing.Pipe()
    # Forked: twins are not to be pickled, and this process has no other thread.
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(stations, theirs, ours), daemon=True
    )
    process.start()
    theirs.close()
    for station in stations:
        station.release()
    try:
        yield [station.place for station in stations]
    finally:
        ours.close()
        process.join()


def _serve(stations: list[Station], parent: Connection, other: Connection) -> None:
    other.close()
    while True:
        ready = wait(stations, 0, [parent.fileno()])
        if parent.fileno() in ready:
            return
        for station in stations:
            station.step(ready)
