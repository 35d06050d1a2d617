"""The simulated servos as a process of their own: they answer at once, whatever is drawn meanwhile."""

from __future__ import annotations

import contextlib
import multiprocessing
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import JointSpec
from wall_edge_bridge.sim import PtyPort, SimulatedBus, SimulatedServoBus, answer

from wall_edge.config import RobotConfig
from wall_edge.runtime.ipc.mailbox import Mailbox, MailboxReader
from wall_edge.runtime.servo.joints import joint_specs
from wall_edge.signals import STOP_SIGNALS

_IDLE_NS = 2_000_000
"""Where the joints are is told at least this often."""

Twin = Callable[[Sequence[JointSpec], npt.ArrayLike], SimulatedBus]
TWINS: dict[str, Twin] = {"feetech": SimulatedServoBus}
"""By ``drive.kind``: simulated motors for joints that stand at positions [dof] in rad."""


def twin(config: RobotConfig, positions: npt.ArrayLike) -> SimulatedBus:
    """The motors that ROBOT.yaml's drive expects, at ``positions`` [dof] rad."""
    return TWINS[config.drive.kind](joint_specs(config), positions)


@contextlib.contextmanager
def motors(bus: SimulatedBus, port: PtyPort, *others: Connection) -> Iterator[MailboxReader]:
    """Servos that answer on ``port`` until the context ends or this process dies.

    Gives a reader of where the joints are: records of ``time_ns`` and ``position`` [dof] rad. ``others`` are
    connections of this process that the new one must not hold open.
    """
    start_ns = time.monotonic_ns()
    dof = len(bus.positions(start_ns))
    shared = Mailbox(np.dtype([("time_ns", np.int64), ("position", np.float64, (dof,))]))
    _tell(bus, shared, start_ns)
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
    bus: SimulatedBus,
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


def _tell(bus: SimulatedBus, shared: Mailbox, now: int) -> None:
    record = np.zeros(1, shared.dtype)[0]
    record["time_ns"], record["position"] = now, bus.positions(now)
    shared.write(record)
