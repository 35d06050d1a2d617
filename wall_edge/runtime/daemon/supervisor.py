"""The daemon's supervisor: starts the processes, tells them what is wanted, collects what happened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault, WallEdgeError
from wall_edge.policies.instruction import require_fitting, require_words
from wall_edge.runtime.daemon.cameras import run_camera
from wall_edge.runtime.daemon.children import Children
from wall_edge.runtime.daemon.heart import Heart
from wall_edge.runtime.daemon.latch import require_latch, require_unlatched, set_latch
from wall_edge.runtime.daemon.readiness import CameraRates, check_bus, check_match
from wall_edge.runtime.daemon.release import release_arm
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import (
    ServoCommand,
    chunk_dtype,
    command_dtype,
    feedback_dtype,
    frame_dtype,
)
from wall_edge.runtime.ipc.messages import (
    BlockTouch,
    EpisodeEnd,
    EpisodeStart,
    Failure,
    Instruct,
    Port,
    Ready,
    Refusal,
    StartEpisode,
)
from wall_edge.runtime.policy.process import run_policy
from wall_edge.runtime.servo.process import run_servo
from wall_edge.runtime.servo.states import ServoState
from wall_edge.runtime.telemetry.event_log import EventLog
from wall_edge.runtime.telemetry.run_log import ChunkRecord, EpisodeRecord, FrameRecord, RunLog, SubgoalRecord
from wall_edge.runtime.telemetry.session_recorder import RecordingOptions
from wall_edge.session_format import require_unused
from wall_edge.signals import Received
from wall_edge.sim.tabletop.process import run_world

_POLL_S = 0.05
_START_S = 60.0
_LOAD_S = 600.0
"""A full-size bundle takes minutes to load on an embedded board; the arm is not powered meanwhile."""
_REST_MARGIN_S = 10.0
_REST_PATIENCE = 3.0
_TORQUE_OFF = "the supervisor took the torque off where the arm stood"
_SILENT_S, _SILENT_STOP_S = 2.0, 5.0
"""A servo process that publishes nothing for so long hangs; at the stop it may be waiting for the bus."""


class Daemon:
    """The running robot: ``with Daemon(config) as daemon: daemon.instruct(…); daemon.poll()``.

    Everything that runs, in order of starting; the arm is powered last and released first:

    =======  ====================================================  ==============
    process  what it does                                          when
    =======  ====================================================  ==============
    world    simulated servos, cameras and referee                 in simulation
    camera…  one for each real camera                              cameras
    policy   action chunks and subgoals                            always
    servo    joint setpoints on absolute deadlines, talks to bus   always
    =======  ====================================================  ==============

    Leaving the context brings the arm to rest and releases it; :class:`RuntimeFault` says when that, or
    anything before it, went wrong. :meth:`poll` must be called again and again: the processes wait for their
    messages to be taken. What must not wait for it, the heartbeat and every way to stop, is the heart's
    (:mod:`wall_edge.runtime.daemon.heart`), which acts on the ``signals`` that come.

    ``instruction``: what :meth:`instruct` will be given, to be refused before anything starts. ``kept``: of a
    run without end, how much of the record is kept (:class:`RunLog`).
    """

    def __init__(
        self,
        config: RobotConfig,
        *,
        events: Path | None = None,
        recording: RecordingOptions | None = None,
        signals: Received | None = None,
        instruction: str | None = None,
        kept: int | None = None,
    ) -> None:
        self.config = config
        words = {"--instruction": instruction, "instruction in ROBOT.yaml": config.instruction}
        given = {where: text for where, text in words.items() if text is not None}
        for where, text in given.items():
            require_words(text, where)
        require_unlatched(config)
        require_latch(config)
        bundle = Bundle(config.bundle)
        self.manifest = bundle.manifest
        check_match(self.manifest, config)
        for text in given.values():
            require_fitting(text, bundle)
        if recording is not None:
            require_unused(recording.folder)
        self._recording = recording
        self.recording_trouble = ""
        self.torque_note = ""
        """After a start that came to nothing: how the torque was found, and left."""
        self.refusal = ""
        """Why the policy refused what it made last; empty once it makes a chunk."""
        self._refusals = 0
        self.record = RunLog(joint_names=tuple(joint.name for joint in config.drive.joints), kept=kept)
        self.epoch = 0
        self._events_path = events
        self._log = EventLog(events) if events is not None else None
        self._children = Children()
        self._frames = {
            name: Mailbox(frame_dtype(camera.height, camera.width)) for name, camera in config.cameras.items()
        }
        self._chunks = Mailbox(chunk_dtype(self.manifest.horizon, config.dof))
        self._feedback = Mailbox(feedback_dtype(config.dof))
        self._command = Mailbox(command_dtype())
        priority = config.control.fifo_priority
        self._heart = Heart(self._command, signals, None if priority is None else max(1, priority - 1))
        self._found_on: tuple[str, ...] = ()
        self._port = config.drive.port
        self._ready: set[str] = set()
        self._running: EpisodeRecord | None = None
        self._follow_world = True
        self._held = False
        self._stopped = False
        self._failure = ""

    # --- life ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Daemon:
        try:
            self._start()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        trouble = self.stop()
        if self._found_on and not self._touched():
            names = ", ".join(self._found_on)
            self.torque_note = (
                f"torque was found on ({names}) and left on; 'wall-edge release ROBOT.yaml' switches it off"
            )
        told = isinstance(error, WallEdgeError)
        more = [words for words in (trouble, self.torque_note if told else "") if words]
        if more := [words for words in more if words not in str(error)]:
            before = f"{error}; then: " if told and more[0] is trouble else f"{error}; " if told else ""
            raise RuntimeFault(f"{before}{'; '.join(more)}") from error

    def _touched(self) -> bool:
        """Whether anybody of us has changed the torque, or may have."""
        return "servo" in self._children.names and bool(self.record.servo.get("touched", True))

    def _start(self) -> None:
        self._heart.start()
        if self.config.simulated:
            self._spawn("world", run_world, self.config, self._frames)
            self._until(lambda: self._port != "sim", "the simulated arm's port")
        else:  # a missing port or a silent motor is said before anything is loaded
            self._found_on = check_bus(self.config, self._port)
        real = {name: camera for name, camera in self.config.cameras.items() if camera.kind == "opencv"}
        for name, camera in real.items():
            self._spawn(f"camera {name}", run_camera, name, camera, self._frames[name])
            self._until_ready(f"camera {name}", _START_S)
        CameraRates(self.config.cameras, self._frames, self.poll).await_frames()
        policy = (self.config, self._frames, self._feedback, self._chunks, self._recording)
        self._spawn("policy", run_policy, *policy)
        self._until_ready("policy", _LOAD_S)
        CameraRates(real, self._frames, self.poll).require()  # with all processes running, as later
        shared = (self._chunks, self._command, self._feedback)
        self._spawn("servo", run_servo, self.config, self._port, *shared, self._events_path)
        self._until(lambda: self.state is ServoState.HOLDING, "the arm to hold")
        self._heart.hurry()
        self._held = True

    def _spawn(self, name: str, body: Callable[..., None], *arguments: Any) -> None:
        self._write("spawned", process=name, pid=self._children.spawn(name, body, *arguments))

    def _until_ready(self, name: str, seconds: float) -> None:
        self._until(lambda: name in self._ready, f"the {name} process", seconds)

    def _until(self, done: Callable[[], bool], what: str, seconds: float = _START_S) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            self.poll()
            if time.monotonic() > deadline:
                raise RuntimeFault(f"waited {seconds:.0f} s for {what}", expected="a start within that time")

    def stop(self) -> str:
        """Bring the arm to rest, release it and end all processes; what went wrong, or an empty string.

        May be called twice.
        """
        if self._stopped:
            return ""
        self._stopped = True
        try:
            return self._bring_to_rest()
        except BaseException as bug:
            trouble = self._release_without_servo(f"could not be listened to ({bug!r})")
            if isinstance(bug, Exception):
                return trouble
            raise
        finally:
            for name in reversed(self._children.names):
                self._children.end(name)
            self._heart.close()
            if self._log is not None:
                self._log.close()

    def _bring_to_rest(self) -> str:
        if "servo" not in self._children.names:
            return ""
        self._heart.stop()
        patience_s = self._longest_way_s()
        deadline = time.monotonic() + patience_s
        trouble = "died"
        while not self.record.servo and self._children.alive("servo"):
            self._receive()
            if time.monotonic() > deadline:
                trouble = f"did not come to rest in {patience_s:.0f} s"
                break
            if self._silent_s() > _SILENT_STOP_S:
                trouble = f"was silent for {self._silent_s():.0f} s"
                break
        self._receive()
        if not self.record.servo:
            return self._release_without_servo(trouble)
        fault = self.record.servo["fault"]
        return self._with_refusal(str(fault)) if fault or self.record.servo["state"] != "RELEASED" else ""

    def _longest_way_s(self) -> float:
        """Across the whole range at the speed that limits allow, with room for skipped ticks."""
        speed = self.config.control.rest_velocity
        ways = self.config.per_joint(lambda j: (j.upper - j.lower) / min(speed, j.max_velocity))
        return _REST_PATIENCE * max(ways) + _REST_MARGIN_S

    def _silent_s(self) -> float:
        """How long the servo process has not told what it does."""
        record = self._feedback.read()
        return (time.monotonic_ns() - int(record["time_ns"])) / 1e9 if record is not None else 0.0

    def _release_without_servo(self, trouble: str) -> str:
        """The servo process died or hangs: nobody but the supervisor can take the torque off.

        That comes first: what is told and kept follows, whatever may be wrong with it.
        """
        if "servo" not in self._children.names:
            return ""
        with contextlib.suppress(Exception):
            self._children.kill("servo")
        left = release_arm(self.config, self._port)
        end = f"torque may still be on ({left}); cut the arm's power" if left else _TORQUE_OFF
        return f"the servo process {trouble}; {end}{self._latch(f'the servo process {trouble}')}"

    def _latch(self, reason: str) -> str:
        """What is to be said when the fault could not be kept."""
        try:
            set_latch(self.config, reason)
        except Exception as error:  # noqa: BLE001 - no bookkeeping may hide what happened to the arm
            return f"; the fault could not be kept ({error}): do not restart the arm unseen"
        return ""

    # --- what is wanted -----------------------------------------------------------------------------------

    def instruct(self, instruction: str) -> int:
        """Follow a new instruction from now on; returns its epoch. Chunks of earlier epochs are void.

        Raises :class:`ConfigError` for one that no prompt takes.
        """
        require_words(instruction, "the instruction")
        self.epoch += 1
        self.refusal, self._refusals = "", 0
        self._heart.want(ServoCommand.FOLLOW, self.epoch)
        self._children.send("policy", Instruct(self.epoch, time.monotonic_ns(), instruction))
        self._write("instruct", epoch=self.epoch, instruction=instruction)
        return self.epoch

    def emergency_stop(self) -> None:
        """Brake as fast as the limits allow, hold for a moment, take the torque off; a person clears it."""
        self._heart.emergency_stop()

    def start_episode(self, number: int, *, follow: bool = True) -> None:
        """Have the simulated world lay the blocks of an episode, and ``follow`` its instruction."""
        self._follow_world = follow
        self._children.send("world", StartEpisode(number))

    @property
    def running_episode(self) -> EpisodeRecord | None:
        """The episode under way in the simulated world."""
        return self._running

    @property
    def state(self) -> ServoState:
        """Of the servo process."""
        record = self._feedback.read()
        return ServoState(int(record["state"])) if record is not None else ServoState.STARTING

    def keep_frames(self) -> None:
        """Keep the newest frame of every camera for the report."""
        for name, shared in self._frames.items():
            if (record := shared.read()) is not None:
                pixels = np.array(record["pixels"])
                self.record.add(FrameRecord(name, int(record["time_ns"]), self.epoch, pixels))

    # --- what happens -------------------------------------------------------------------------------------

    def poll(self) -> None:
        """What the processes report within 50 ms.

        Raises KeyboardInterrupt when a signal asked for a stop, :class:`RuntimeFault` when a process failed
        or ended; leaving the context then brings the arm to rest, or takes its torque off where it stands.
        """
        if self._heart.emergency and "servo" not in self._children.names:
            raise RuntimeFault(self._emergency_before_servo())
        self._refuse_interrupted()
        self._receive()
        self._refuse_interrupted()  # what has come may be the answer to it
        if failure := self._failure_now():
            raise RuntimeFault(self._with_refusal(failure))

    def _refuse_interrupted(self) -> None:
        if self._heart.interrupted and not self._heart.emergency:
            raise KeyboardInterrupt

    def _emergency_before_servo(self) -> str:
        """The arm may have been found powered: an emergency stop leaves it limp."""
        left = "" if self.config.simulated else release_arm(self.config, self._port)
        self._found_on = ()
        off = f"torque may still be on ({left}); cut the arm's power" if left else "its torque is off"
        return f"emergency stop at the start; {off}{self._latch('emergency stop')}"

    def _failure_now(self) -> str:
        servo = self.record.servo
        if failure := self._failure or servo.get("fault"):
            return str(failure)
        if servo:
            return f"the arm was brought to rest by itself: {servo['reason']}"
        if dead := self._children.dead():
            return dead
        if not self._heart.beats:
            return "the supervisor's heartbeat ended"
        silent_s = self._silent_s() if self._held else 0.0
        return f"the servo process was silent for {silent_s:.1f} s" if silent_s > _SILENT_S else ""

    def _with_refusal(self, failure: str) -> str:
        """With what the policy said last, when it has made nothing but refusals."""
        if not self.refusal or self.refusal in failure:
            return failure
        return (
            f"{failure}; the policy refused {self._refusals} times since its last chunk, last: {self.refusal}"
        )

    def _receive(self) -> None:
        for name, message in self._children.receive(_POLL_S):
            if name == "servo":
                self.record.servo = message
                continue
            self._write(type(message).__name__.lower(), **vars(message))
            if self._stopped:
                continue  # a task that comes in now must not start the arm again
            if isinstance(message, Ready):
                self._ready.add(name)
            else:
                self._handlers[type(message)](self, message)

    def _on_port(self, message: Port) -> None:
        self._port = message.path

    def _on_failed(self, message: Failure) -> None:
        self._failure = self._failure or message.reason

    def _on_chunk(self, message: ChunkRecord) -> None:
        self.record.add(message)
        self.refusal, self._refusals = "", 0

    def _on_subgoal(self, message: SubgoalRecord) -> None:
        self.record.add(message)

    def _on_refused(self, message: Refusal) -> None:
        self.record.refused.update([message.what])
        if message.what == "recording":
            self.recording_trouble = message.reason
        else:
            self.refusal, self._refusals = message.reason, self._refusals + 1

    def _on_laid(self, message: EpisodeStart) -> None:
        epoch = self.instruct(message.instruction) if self._follow_world else self.epoch
        truths = ((message.time_ns, message.subgoal),)
        self._running = EpisodeRecord(
            message.number, epoch, message.instruction, message.time_ns, message.time_ns, "running", truths
        )

    def _on_touched(self, message: BlockTouch) -> None:
        if self._running is not None:
            truths = (*self._running.truths, (message.time_ns, message.subgoal))
            self._running = replace(self._running, truths=truths)

    def _on_ended(self, message: EpisodeEnd) -> None:
        if self._running is not None:
            ended = replace(self._running, end_ns=message.time_ns, status=message.status)
            self.record.add(ended)
            self._running = None

    _handlers: Mapping[type, Callable[[Daemon, Any], None]] = {
        Port: _on_port,
        Failure: _on_failed,
        ChunkRecord: _on_chunk,
        SubgoalRecord: _on_subgoal,
        Refusal: _on_refused,
        EpisodeStart: _on_laid,
        BlockTouch: _on_touched,
        EpisodeEnd: _on_ended,
    }

    def _write(self, kind: str, **fields: Any) -> None:
        if self._log is not None:
            self._log.write(kind, **{"time_ns": time.monotonic_ns(), **fields})
