"""The servo process: opens the drive, runs the loop, tells what happened."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from wall_edge_bridge.drives import Drive, FeetechDrive
from wall_edge_bridge.transport import SerialTransport

from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError
from wall_edge.runtime.daemon.latch import set_latch
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.joints import joint_specs
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.runtime.servo.realtime import RealtimeReport
from wall_edge.runtime.servo.states import Event, ServoState, Transition
from wall_edge.runtime.telemetry.event_log import EventLog
from wall_edge.signals import ALL_SIGNALS, EMERGENCY_SIGNAL, ENDING_SIGNALS


def open_drive(config: RobotConfig, port: str) -> Drive:
    """The drive that ROBOT.yaml describes, on ``port`` (its own, or the simulated arm's). Raises BusError."""
    transport = SerialTransport(port, config.drive.baudrate)
    slack_rad = config.control.start_slack_rad
    timeout_s = config.drive.timeout_ms / 1e3
    return FeetechDrive(transport, joint_specs(config), timeout_s, start_slack_rad=slack_rad)


def run_servo(
    result_conn: Connection,
    config: RobotConfig,
    port: str,
    chunks: Mailbox,
    command: Mailbox,
    feedback: Mailbox,
    events: str | Path | None,
) -> None:
    """The body of the servo process; returns when torque is off, or was tried to be.

    SIGUSR1 is the emergency stop here too, whoever sends it. SIGTERM, SIGHUP of a terminal that went away and
    whatever else would end a process send the arm to rest. SIGINT is ignored: a Ctrl-C reaches the whole
    process group, and it is for the supervisor to say what it means; SIGTSTP is ignored, as a suspended servo
    loop holds a powered arm without watching it. At the end one :func:`summary` goes out on ``result_conn``;
    a parent has to receive it before it joins, as it is larger than a pipe's buffer. A bug raises, after its
    summary.
    """
    stop, emergency = _Flag(), _Flag()
    for number in ALL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, *ENDING_SIGNALS):
        signal.signal(number, stop.set)
    signal.signal(EMERGENCY_SIGNAL, emergency.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
    control = config.control
    report = realtime.apply(control.fifo_priority, control.cpu, control.lock_memory, control.wake_latency_us)
    loop = ServoLoop(
        config,
        lambda: open_drive(config, port),
        chunks,
        command,
        feedback,
        stop_requested=stop.is_set,
        emergency_requested=emergency.is_set,
    )
    try:
        loop.run()
    finally:  # the loop has taken the torque off, or tried to: all that follows is bookkeeping
        _latch(config, loop)
        _tell(loop, report, result_conn, events)


class _Flag:
    # Not a threading.Event: its lock may be held by the very code that the signal interrupts.
    def __init__(self) -> None:
        self._value = False

    def set(self, *_: object) -> None:
        self._value = True

    def is_set(self) -> bool:
        return self._value


def summary(loop: ServoLoop, report: RealtimeReport) -> dict[str, object]:
    """What the loop did: plain data, but for ``trace`` (name → array, see Trace.columns)."""
    seconds = (loop.last_tick_ns - loop.first_tick_ns) / 1e9
    drive = loop.joints.drive
    return {
        "state": loop.state.name,
        "fault": loop.machine.fault,
        "reason": _reason(loop.machine.transitions),
        "touched": loop.touched,
        "ticks": loop.served_ticks,
        "seconds": seconds,
        "rate_hz": (loop.served_ticks - 1) / seconds if seconds > 0 else 0.0,
        "lateness_us": loop.ticker.lateness.summary_us(),
        "starved_ticks": loop.starved_ticks,
        "waiting_ticks": loop.waiting_ticks,
        "pickup_us": loop.pickup.summary_us(),
        "first_setpoint_us": loop.first_setpoint.summary_us(),
        "overruns": loop.ticker.overruns,
        "skipped": loop.ticker.skipped,
        "chunks": {"taken": loop.track.taken, "refused": dict(loop.track.refused)},
        "bus": {
            "cycles_hz": (loop.joints.cycles - 1) / seconds if seconds > 0 else 0.0,
            "errors": drive.counters.errors if drive is not None else 0,
            "detail": asdict(drive.counters) if drive is not None else {},
        },
        "limiter": loop.limiter.counts(),
        "realtime": report.as_dict(),
        "trace": loop.trace.columns(),
    }


def _reason(transitions: Sequence[Transition]) -> str:
    """Why the arm stopped: what sent it to rest, not that it came there."""
    stops = [change.reason for change in transitions if change.after is ServoState.STOPPING]
    return (stops or [change.reason for change in transitions] or [""])[-1]


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
    except Exception as error:  # noqa: BLE001 - the summary, with which the supervisor knows that torque is off
        loop.machine.fail(f"the fault could not be kept ({error}): do not restart the arm unseen")


def _tell(
    loop: ServoLoop, report: RealtimeReport, result_conn: Connection, events: str | Path | None
) -> None:
    result = summary(loop, report)
    with contextlib.suppress(
        OSError
    ):  # the supervisor may be gone; the arm is at rest and the log has the rest
        result_conn.send(result)
    result_conn.close()
    if events is None:
        return
    with contextlib.suppress(ConfigError), EventLog(events, rotate=False) as log:
        for change in loop.machine.transitions:
            names = {"before": change.before.name, "after": change.after.name, "reason": change.reason}
            log.write("servo_state", time_ns=change.time_ns, **names)
        log.write("servo_result", result={k: value for k, value in result.items() if k != "trace"})
