"""The simulated motors as a process of their own: they answer at once, whatever is drawn meanwhile.

One process serves all drives of a robot: serial twins behind pseudo-terminals, CAN twins behind hubs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from wall_edge_bridge.sim import station_for
from wall_edge_bridge.sim.stations import Station, wait

from wall_edge.runtime.ipc.mailbox import Mailbox, MailboxReader
from wall_edge.signals import STOP_SIGNALS
from wall_edge.sim.twins import RobotTwins

_IDLE_NS = 2_000_000
"""Where the joints are is told at least this often."""


@dataclass(frozen=True)
class RunningMotors:
    """Motors that answer."""

    places: dict[str, str]
    """By the name of their drive: what its settings' ``at`` takes."""
    positions: MailboxReader
    """Where the joints are: records of ``time_ns`` and ``position`` [dof] rad."""


@contextlib.contextmanager
def motors(twins: RobotTwins, *others: Connection) -> Iterator[RunningMotors]:
    """Motors that answer until the context ends or this process dies.

    ``others`` are connections of this process that the new one must not hold open.
    """
    shared = Mailbox(np.dtype([("time_ns", np.int64), ("position", np.float64, (twins.dof,))]))
    _tell(twins, shared, time.monotonic_ns())
    ours, theirs = multiprocessing.Pipe()
    stations = {name: station_for(twin, name) for name, twin in twins.by_drive.items()}
    places = {name: station.place for name, station in stations.items()}
    # Forked: this process has no other thread yet, and a new interpreter would take half a second to start.
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(twins, list(stations.values()), shared, theirs, (ours, *others)), daemon=True
    )
    process.start()
    for station in stations.values():
        station.release()  # the new process has it: when that dies, its place is gone
    theirs.close()
    try:
        yield RunningMotors(places, shared.reader())
    finally:
        ours.close()
        process.join()


def _serve(
    twins: RobotTwins,
    stations: list[Station],
    shared: Mailbox,
    parent: Connection,
    others: tuple[Connection, ...],
) -> None:
    for number in (*STOP_SIGNALS, signal.SIGUSR1):  # motors know no signals: they end with their parent
        signal.signal(number, signal.SIG_IGN)
    for connection in others:
        connection.close()
    last_ns = time.monotonic_ns()
    while True:
        ready = wait(stations, last_ns + _IDLE_NS, [parent.fileno()])
        if parent.fileno() in ready:  # it says nothing: it is gone
            break
        for station in stations:
            station.step(ready)
        now_ns = time.monotonic_ns()
        if now_ns - last_ns >= _IDLE_NS:
            _tell(twins, shared, now_ns)
            last_ns = now_ns
    for station in stations:
        station.close()


def _tell(twins: RobotTwins, shared: Mailbox, now_ns: int) -> None:
    record = np.zeros(1, shared.dtype)[0]
    record["time_ns"], record["position"] = now_ns, twins.positions(now_ns)
    shared.write(record)
