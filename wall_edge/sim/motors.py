"""The simulated servos as a process of their own: they answer at once, whatever is drawn meanwhile."""

from __future__ import annotations

import contextlib
import multiprocessing
import select
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
from wall_edge_bridge.sim import PtyPort, SimulatedServoBus, answer

from wall_edge.runtime.ipc.mailbox import Mailbox, MailboxReader
from wall_edge.signals import STOP_SIGNALS

_IDLE_NS = 2_000_000
"""Where the joints are is told at least this often."""


@contextlib.contextmanager
def motors(bus: SimulatedServoBus, port: PtyPort, *others: Connection) -> Iterator[MailboxReader]:
    """Servos that answer on ``port`` until the context ends or this process dies.

    Gives a reader of where the joints are: records of ``time_ns`` and ``position`` [dof] rad. ``others`` are
    connections of this process that the new one must not hold open.
    """
    dof = len(bus.servos)
    shared = Mailbox(np.dtype([("time_ns", np.int64), ("position", np.float64, (dof,))]))
    _tell(bus, shared, time.monotonic_ns())
    ours, theirs = multiprocessing.Pipe()
    # Forked: this process has no other thread yet, and a new interpreter would take half a second to start.
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(bus, port, shared, theirs, (ours, *others)), daemon=True
    )
    process.start()
    port.close()  # the new process has it: when that dies, the port is gone
    theirs.close()
    try:
        yield shared.reader()
    finally:
        ours.close()
        process.join()


def _serve(
    bus: SimulatedServoBus,
    port: PtyPort,
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
        due = last_ns + _IDLE_NS if bus.due_ns is None else min(bus.due_ns, last_ns + _IDLE_NS)
        wait = max(0.0, (due - time.monotonic_ns()) / 1e9)
        ready, _, _ = select.select([port.fd, parent.fileno()], [], [], wait)
        if parent.fileno() in ready:  # it says nothing: it is gone
            return
        answer(bus, port, port.fd in ready)
        now = time.monotonic_ns()
        if now - last_ns >= _IDLE_NS:
            _tell(bus, shared, now)
            last_ns = now
            if not ready:
                port.forget_the_dead()


def _tell(bus: SimulatedServoBus, shared: Mailbox, now: int) -> None:
    record = np.zeros(1, shared.dtype)[0]
    record["time_ns"], record["position"] = now, bus.positions(now)
    shared.write(record)
