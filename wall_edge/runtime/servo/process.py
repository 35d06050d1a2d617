"""The servo process: opens the drive, runs the loop, latches its fault."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from multiprocessing.connection import Connection

from wall_edge.config import RobotConfig
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.latch import set_latch
from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.drives import drives_opener
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.runtime.servo.states import Event
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import EventKind
from wall_edge.signals import ALL_SIGNALS, EMERGENCY_SIGNAL, ENDING_SIGNALS


def run_servo(
    conn: Connection,
    config: RobotConfig,
    places: Mapping[str, str],
    chunks: Mailbox,
    command: Mailbox,
    feedback: Mailbox,
    rings: ServoRings,
) -> None:
    """The body of the servo process; returns when torque is off, or was tried to be.

    ``places``: where simulated motors are, by the drive's name; empty for real ones.

    SIGUSR1 is the emergency stop here too, whoever sends it. SIGTERM, SIGHUP of a terminal that went away and
    whatever else would end a process send the arm to rest. SIGINT is ignored: a Ctrl-C reaches the whole
    process group, and it is for the supervisor to say what it means; SIGTSTP is ignored, as a suspended servo
    loop holds a powered arm without watching it. What it does is told through ``rings``, nothing through
    ``conn``. A bug raises, after its last word.
    """
    conn.close()
    stop, emergency = _Flag(), _Flag()
    for number in ALL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, *ENDING_SIGNALS):
        signal.signal(number, stop.set)
    signal.signal(EMERGENCY_SIGNAL, emergency.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
    control = config.control
    telemetry = ServoTelemetry(rings, round(1e9 / control.rate_hz))
    report = realtime.apply(control.fifo_priority, control.cpu, control.lock_memory, control.wake_latency_us)
    for setting in report.settings:
        telemetry.event(EventKind.REALTIME, name=setting.name, values=(setting.granted,), text=setting.detail)
    loop = ServoLoop(
        config,
        drives_opener(config, places),  # opened again where torque does not go off
        chunks,
        command,
        feedback,
        telemetry=telemetry,
        stop_requested=stop.is_set,
        emergency_requested=emergency.is_set,
    )
    try:
        loop.run()
    finally:  # the loop has taken the torque off, or tried to: all that follows is bookkeeping
        _latch(config, loop)
        telemetry.end()


class _Flag:
    # Not a threading.Event: its lock may be held by the very code that the signal interrupts.
    def __init__(self) -> None:
        self._value = False

    def set(self, *_: object) -> None:
        self._value = True

    def is_set(self) -> bool:
        return self._value


def _latch(config: RobotConfig, loop: ServoLoop) -> None:
    """A fault of an arm that was powered waits for a person, and so does an emergency stop of any."""
    # Not the way into HOLDING: only the last transitions are kept, and it may be long ago.
    changes = loop.machine.transitions
    powered = any(change.before not in (ServoState.STARTING, ServoState.RELEASED) for change in changes)
    emergency = any(change.reason == Event.EMERGENCY_STOP.value for change in changes)
    if loop.machine.fault is None or not (powered or emergency):
        return
    try:
        set_latch(config, loop.machine.fault)
    except Exception as error:  # noqa: BLE001 - the last word, by which the supervisor knows that torque is off
        loop.machine.fail(f"the fault could not be kept ({error}): do not restart the arm unseen")
