"""The running robot: one object that starts it, tells it what to do and stops it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError, RuntimeFault, WallEdgeError
from wall_edge.policies.instruction import require_fitting, require_words
from wall_edge.runtime.daemon.heart import Heart
from wall_edge.runtime.daemon.inbox import Inbox
from wall_edge.runtime.daemon.process_table import Plant
from wall_edge.runtime.daemon.readiness import check_match
from wall_edge.runtime.daemon.service.manager import ServiceManager
from wall_edge.runtime.daemon.shared_memory import SharedMemory
from wall_edge.runtime.daemon.shutdown import Shutdown, longest_stop_s
from wall_edge.runtime.daemon.startup import Startup
from wall_edge.runtime.daemon.supervisor import Supervisor
from wall_edge.runtime.daemon.world import World
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, ServoState
from wall_edge.runtime.ipc.messages import Instruct
from wall_edge.runtime.latch import require_latch, require_unlatched
from wall_edge.runtime.telemetry.run_log import FrameRecord, RunLog
from wall_edge.runtime.telemetry.servo.summary import ServoSummary
from wall_edge.runtime.telemetry.servo.watchdogs import watchdog_words
from wall_edge.runtime.telemetry.session_recorder import RecordingOptions
from wall_edge.runtime.telemetry.writer.log_file import LogFile
from wall_edge.session_format import require_unused
from wall_edge.signals import Received

_POLL_S, _FOLLOW_S = 0.05, 0.1
_SILENT_S = 2.0
"""A servo process that publishes nothing for so long hangs."""


class Daemon:
    """``with Daemon(config) as daemon: daemon.instruct(…); daemon.poll()``.

    What runs is the table of :mod:`wall_edge.runtime.daemon.process_table`. Leaving the context brings the
    arm to rest and releases it; :class:`RuntimeFault` says when that, or anything before it, went wrong.
    :meth:`poll` must be called again and again: the processes wait for their messages to be taken. What must
    not wait for it, the heartbeat and every way to stop, is the heart's
    (:mod:`wall_edge.runtime.daemon.heart`), which acts on the ``signals`` that come.

    ``world``: what stands in for the arm and cameras of a simulated robot. ``instruction``: what
    :meth:`instruct` will be given, to be refused before anything starts. ``kept``: of a run without end,
    how much of the record is kept (:class:`RunLog`). ``service``: who is told that the arm holds and that
    we live.
    """

    def __init__(
        self,
        config: RobotConfig,
        *,
        world: World | None = None,
        events: Path | None = None,
        recording: RecordingOptions | None = None,
        signals: Received | None = None,
        instruction: str | None = None,
        kept: int | None = None,
        service: ServiceManager | None = None,
    ) -> None:
        self.config, self.world = config, world
        self._service, self._stop_s = service or ServiceManager(), longest_stop_s(config)
        bundle = _checked(config, world, instruction, recording)
        self.record = RunLog(joint_names=tuple(joint.name for joint in config.joints), kept=kept)
        self.epoch = 0
        self._log: LogFile | None = None
        self.torque_note = ""
        """After a start that came to nothing: how the torque was before, and is now."""
        if events is not None:
            self._log = LogFile(events)  # one that does not open is refused here
            events = self._log.lasting_path()
        memory = self._memory = SharedMemory.of(config, bundle.manifest)
        self._events = memory.events["supervisor"]
        self._servo, self._summary = memory.rings.reader(), ServoSummary(memory.rings)
        self._plant = Plant(config, bundle, memory, {}, world, recording, events)
        self.inbox = Inbox(self.record, self._plant, self._write)
        self._supervisor = Supervisor(self._plant, self._write)
        priority = config.control.fifo_priority
        self._heart = Heart(memory.command, signals, None if priority is None else max(1, priority - 1))
        self._startup = Startup(
            self._plant, self._supervisor, self.inbox, self.poll, lambda: self.state is ServoState.HOLDING
        )
        self._shutdown = Shutdown(
            self._plant,
            self._supervisor,
            self.inbox,
            self._heart,
            self.record,
            lambda: self._receive(),
            self._silent_s,
        )
        if world is not None:
            world.link = self
        self._holds = self._stops = self._limp = False
        self._followed_s = 0.0

    def __enter__(self) -> Daemon:
        try:
            self._heart.start()
            self._startup.run()
            self._heart.hurry()
            self._holds = True
            self._service.ready()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def stop(self) -> str:
        """Bring the arm to rest, release it and end all processes; what went wrong, or an empty string.

        May be called twice.
        """
        if self._stops:
            return ""
        self._stops = self.inbox.closed = True
        self._service.stopping(self._stop_s)
        try:
            return self._shutdown.run()
        finally:
            try:
                self._supervisor.end()
            finally:
                self._heart.close()
            if self._log is not None:
                self._log.close()
            with contextlib.suppress(Exception):  # the arm is released: nothing may hide how
                self._receive(0.0)  # the writer's last word
            self.inbox.require_log_end(logged=self._supervisor.runs("writer"))
            if not self.record.servo and self._supervisor.runs("servo"):  # it died: what it told until then
                self.record.servo = self._summary.as_dict()

    def instruct(self, instruction: str) -> int:
        """Follow a new instruction from now on; returns its epoch. Chunks of earlier epochs are void.

        Raises :class:`ConfigError` for one that no prompt takes.
        """
        require_words(instruction, "the instruction")
        self.epoch += 1
        self.inbox.forgive()
        self._heart.want(ServoCommand.FOLLOW, self.epoch)
        self._supervisor.send("policy", Instruct(self.epoch, time.monotonic_ns(), instruction))
        self._write("instruct", epoch=self.epoch, instruction=instruction)
        return self.epoch

    def emergency_stop(self) -> None:
        """Brake as fast as the limits allow, hold for a moment, take the torque off; a person clears it."""
        self._heart.emergency_stop()

    def send_to_world(self, message: object) -> None:
        """Raises :class:`RuntimeFault` when the world's process is gone."""
        self._supervisor.send("world", message)

    @property
    def state(self) -> ServoState:
        """Of the servo process."""
        record = self._memory.feedback.read()
        return ServoState(int(record["state"])) if record is not None else ServoState.STARTING

    @property
    def watchdogs(self) -> str:
        """What becomes of each drive's motors when nobody commands them any more; empty until it is known."""
        return watchdog_words(self._summary.drives())

    def keep_frames(self) -> None:
        """Keep the newest frame of every camera for the report."""
        for name, mailbox in self._memory.frames.items():
            if (record := mailbox.read()) is not None:
                pixels = np.array(record["pixels"])
                self.record.add(FrameRecord(name, int(record["time_ns"]), self.epoch, pixels))

    def poll(self) -> None:
        """What the processes report within 50 ms.

        Raises KeyboardInterrupt when a signal asked for a stop, :class:`RuntimeFault` when a process failed
        or ended; leaving the context then brings the arm to rest, or takes its torque off where it stands.
        """
        if self._heart.emergency and not self._supervisor.runs("servo"):
            self._limp = True
            raise RuntimeFault(self._shutdown.emergency_before_servo())
        self._refuse_interrupted()
        self._receive()
        self._refuse_interrupted()  # what has come may be the answer to it
        if failure := self._failure():
            raise RuntimeFault(self.inbox.with_refusal(failure))
        if self._holds:
            self._service.alive(self._tick())
        else:
            self._service.starting(f"waiting for the {self._startup.awaited} process")

    def _receive(self, timeout_s: float = _POLL_S) -> None:
        for name, message in self._supervisor.receive(timeout_s):
            self.inbox.take(name, message)
        self._follow_servo()
        if self._summary.ended and not self.record.servo:
            self.record.servo = self._summary.as_dict()

    def _follow_servo(self) -> None:
        """At once at the start and at the end; ten times a second in between, as it takes the cores' time."""
        now = time.monotonic()
        if self._holds and not self._stops and now - self._followed_s < _FOLLOW_S:
            return
        self._followed_s = now
        self._summary.follow(self._servo)

    def _refuse_interrupted(self) -> None:
        if self._heart.interrupted and not self._heart.emergency:
            raise KeyboardInterrupt

    def _failure(self) -> str:
        """Why the robot cannot go on; empty while it can."""
        servo = self.record.servo
        if failure := self.inbox.failure or servo.get("fault"):
            return str(failure)
        if servo:
            return f"the arm was brought to rest by itself: {servo['reason']}"
        if failure := self._supervisor.failure():
            self._summary.follow(self._servo)  # its last word may have come since it was listened to
            self._receive(0.0)
            return self._failure() if self.record.servo else failure
        if not self._heart.beats:
            return "the supervisor's heartbeat ended"
        silent_s = self._silent_s() if self._holds else 0.0
        return f"the servo process was silent for {silent_s:.1f} s" if silent_s > _SILENT_S else ""

    def _tick(self) -> int:
        """The last one of the servo process; -1 where it cannot be told."""
        record = self._memory.feedback.read()
        return int(record["tick"]) if record is not None else -1

    def _silent_s(self) -> float:
        """How long the servo process has not told what it does."""
        record = self._memory.feedback.read()
        return (time.monotonic_ns() - int(record["time_ns"])) / 1e9 if record is not None else 0.0

    def _leave(self, error: BaseException | None) -> None:
        trouble = self.stop()
        if self._startup.powered and not self._limp and not self._touched():
            names = ", ".join(self._startup.powered)
            self.torque_note = (
                f"torque was found on ({names}) and left on; 'wall-edge release ROBOT.yaml' switches it off"
            )
        self._service.ended(trouble or str(error or "") or "released")
        ours = isinstance(error, WallEdgeError)
        more = [words for words in (trouble, self.torque_note if ours else "") if words]
        if more := [words for words in more if words not in str(error)]:
            before = f"{error}; then: " if ours and more[0] is trouble else f"{error}; " if ours else ""
            raise RuntimeFault(f"{before}{'; '.join(more)}") from error

    def _touched(self) -> bool:
        """Whether anybody of us has changed the torque, or may have."""
        # Of one that did not say its last word, the supervisor has taken the torque off.
        return self._supervisor.runs("servo") and (not self._summary.ended or self._summary.touched)

    def _write(self, kind: str, **fields: Any) -> None:
        self._events.write(kind, **fields)


def _checked(
    config: RobotConfig, world: World | None, instruction: str | None, recording: RecordingOptions | None
) -> Bundle:
    """The bundle, after everything that can be refused before a process starts."""
    words = {"--instruction": instruction, "instruction in ROBOT.yaml": config.instruction}
    instructions = {where: text for where, text in words.items() if text is not None}
    for where, text in instructions.items():
        require_words(text, where)
    if config.simulated and world is None:
        raise ConfigError(
            f"{config.name} is simulated, but no world was opened",
            expected="Daemon(config, world=wall_edge.sim.worlds.open_world(config))",
        )
    require_unlatched(config)
    require_latch(config)
    bundle = Bundle(config.bundle)
    bundle.hold()
    check_match(bundle.manifest, config)
    for text in instructions.values():
        require_fitting(text, bundle)
    if recording is not None:
        require_unused(recording.folder)
    return bundle
