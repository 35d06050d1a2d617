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

from wall_edge.bundle import Bundle, Manifest
from wall_edge.config import RobotConfig
from wall_edge.errors import CameraError, ConfigError, RuntimeFault, WallEdgeError
from wall_edge.record import ChunkRecord, EpisodeRecord, FrameRecord, RunRecord, SubgoalRecord
from wall_edge.recording import require_unused
from wall_edge.runtime.camera_process import run_camera
from wall_edge.runtime.children import Children
from wall_edge.runtime.events import EventLog
from wall_edge.runtime.latch import require_unlatched, set_latch
from wall_edge.runtime.messages import Ended, Failed, Instruct, Laid, Lay, Port, Ready, Refused, Touched
from wall_edge.runtime.policy_process import run_policy
from wall_edge.runtime.recorder import RecordingOptions
from wall_edge.runtime.records import Wanted, chunk_dtype, command_dtype, feedback_dtype, frame_dtype
from wall_edge.runtime.servo import open_drive, release_arm, run_servo
from wall_edge.runtime.shared import SharedRecord
from wall_edge.runtime.states import State
from wall_edge.sim.process import run_world

__all__ = ["Daemon", "check_match"]

_POLL_S = 0.05
_START_S = 60.0
_LOAD_S = 600.0
"""A full-size bundle takes minutes to load on an embedded board; the arm is not powered meanwhile."""
_REST_MARGIN_S = 10.0
_REST_PATIENCE = 3.0
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
    anything before it, went wrong. :meth:`poll` must be called at least once a second: it carries the
    heartbeat without which the servo process takes the arm to rest by itself. It raises KeyboardInterrupt
    once ``interrupted`` says so, and stops the arm where it is once ``emergency`` does.
    """

    def __init__(
        self,
        config: RobotConfig,
        *,
        events: Path | None = None,
        recording: RecordingOptions | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        emergency: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config = config
        self._interrupted, self._emergency = interrupted, emergency
        self.manifest = Bundle(config.bundle).manifest
        check_match(self.manifest, config)
        require_unlatched(config)
        if recording is not None:
            require_unused(recording.folder)
        self._recording = recording
        self.recording_trouble = ""
        self.record = RunRecord(joint_names=tuple(joint.name for joint in config.drive.joints))
        self.epoch = 0
        self._events_path = events
        self._log = EventLog(events) if events is not None else None
        self._children = Children()
        self._frames = {
            name: SharedRecord(frame_dtype(camera.height, camera.width))
            for name, camera in config.cameras.items()
        }
        self._chunks = SharedRecord(chunk_dtype(self.manifest.horizon, config.dof))
        self._feedback = SharedRecord(feedback_dtype(config.dof))
        self._command = SharedRecord(command_dtype())
        self._order = np.zeros(1, self._command.dtype)[0]
        self._wanted = Wanted.HOLD
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
        if trouble and trouble not in str(error):
            before = f"{error}; then: " if isinstance(error, WallEdgeError) else ""
            raise RuntimeFault(f"{before}{trouble}") from error

    def _start(self) -> None:
        if self.config.simulated:
            self._spawn("world", run_world, self.config, self._frames)
            self._until(lambda: self._port != "sim", "the simulated arm's port")
        else:
            open_drive(self.config, self._port).close()  # a missing port is said before anything is loaded
        for name, camera in self.config.cameras.items():
            if camera.kind == "opencv":
                self._spawn(f"camera {name}", run_camera, name, camera, self._frames[name])
                self._until_ready(f"camera {name}", _START_S)
        self._await_frames()
        policy = (self.config, self._frames, self._feedback, self._chunks, self._recording)
        self._spawn("policy", run_policy, *policy)
        self._until_ready("policy", _LOAD_S)
        self._heartbeat()
        shared = (self._chunks, self._command, self._feedback)
        self._spawn("servo", run_servo, self.config, self._port, *shared, self._events_path)
        self._until(lambda: self.state is State.HOLDING, "the arm to hold")
        self._held = True

    def _spawn(self, name: str, body: Callable[..., None], *arguments: Any) -> None:
        self._write("spawned", process=name, pid=self._children.spawn(name, body, *arguments))

    def _await_frames(self) -> None:
        """Every camera must see before the arm is powered."""
        begun = time.monotonic()
        for name, camera in self.config.cameras.items():
            while self._frames[name].read() is None:
                self.poll()
                if time.monotonic() - begun > max(1.0, camera.timeout_ms / 1e3):
                    raise CameraError(
                        f"camera {name} delivered no frame",
                        expected=f"one every {1000 / camera.rate_hz:.0f} ms",
                        fix=f"check its cable and cameras.{name} in ROBOT.yaml",
                    )

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
        finally:
            for name in reversed(self._children.names):
                self._children.end(name)
            if self._log is not None:
                self._log.close()

    def _bring_to_rest(self) -> str:
        if "servo" not in self._children.names:
            return ""
        if self._wanted is not Wanted.EMERGENCY_STOP:
            self._wanted = Wanted.STOP
        patience_s = self._longest_way_s()
        deadline = time.monotonic() + patience_s
        trouble = "died"
        while not self.record.servo and self._children.alive("servo"):
            self._heartbeat()
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
        return str(fault) if fault or self.record.servo["state"] != State.RELEASED.name else ""

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
        """The servo process died or hangs: nobody but the supervisor can take the torque off."""
        self._children.kill("servo")
        with contextlib.suppress(OSError):  # whether or not it can be kept, the arm comes first
            set_latch(self.config, f"the servo process {trouble}")
        try:
            release_arm(self.config, self._port)
        except (WallEdgeError, OSError) as error:
            return f"the servo process {trouble} and torque may still be on ({error}); cut the arm's power"
        return f"the servo process {trouble}; the supervisor took the torque off where the arm stood"

    # --- what is wanted -----------------------------------------------------------------------------------

    def instruct(self, instruction: str) -> int:
        """Follow a new instruction from now on; returns its epoch. Chunks of earlier epochs are void."""
        self.epoch += 1
        self._wanted = Wanted.FOLLOW
        self._heartbeat()
        self._children.send("policy", Instruct(self.epoch, time.monotonic_ns(), instruction))
        self._write("instruct", epoch=self.epoch, instruction=instruction)
        return self.epoch

    def emergency_stop(self) -> None:
        """Brake as fast as the limits allow, hold for a moment, take the torque off; a person clears it."""
        self._wanted = Wanted.EMERGENCY_STOP
        self._heartbeat()

    def start_episode(self, number: int, *, follow: bool = True) -> None:
        """Have the simulated world lay the blocks of an episode, and ``follow`` its instruction."""
        self._follow_world = follow
        self._children.send("world", Lay(number))

    @property
    def running_episode(self) -> EpisodeRecord | None:
        """The episode under way in the simulated world."""
        return self._running

    @property
    def state(self) -> State:
        """Of the servo process."""
        record = self._feedback.read()
        return State(int(record["state"])) if record is not None else State.STARTING

    def keep_frames(self) -> None:
        """Keep the newest frame of every camera for the report."""
        for name, shared in self._frames.items():
            if (record := shared.read()) is not None:
                pixels = np.array(record["pixels"])
                self.record.frames.append(FrameRecord(name, int(record["time_ns"]), self.epoch, pixels))

    # --- what happens -------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Heartbeat, then what the processes report within 50 ms.

        Raises :class:`RuntimeFault` when a process failed or ended; leaving the context then brings the arm
        to rest, or takes its torque off where it stands.
        """
        if self._interrupted():
            raise KeyboardInterrupt
        if self._emergency():
            self.emergency_stop()
        self._heartbeat()
        self._receive()
        servo = self.record.servo
        failure = self._failure or servo.get("fault")
        if not failure and servo:
            failure = f"the arm was brought to rest by itself: {servo['reason']}"
        failure = failure or self._children.dead()
        if not failure and self._held and self._silent_s() > _SILENT_S:
            failure = f"the servo process was silent for {self._silent_s():.1f} s"
        if failure:
            raise RuntimeFault(str(failure))

    def _heartbeat(self) -> None:
        order = self._order
        order["wanted"], order["epoch"], order["heartbeat_ns"] = self._wanted, self.epoch, time.monotonic_ns()
        self._command.write(order)

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

    def _on_failed(self, message: Failed) -> None:
        self._failure = self._failure or message.reason

    def _on_chunk(self, message: ChunkRecord) -> None:
        self.record.chunks.append(message)

    def _on_subgoal(self, message: SubgoalRecord) -> None:
        self.record.subgoals.append(message)

    def _on_refused(self, message: Refused) -> None:
        self.record.refused.update([message.what])
        if message.what == "recording":
            self.recording_trouble = message.reason

    def _on_laid(self, message: Laid) -> None:
        epoch = self.instruct(message.instruction) if self._follow_world else self.epoch
        truths = ((message.time_ns, message.subgoal),)
        self._running = EpisodeRecord(
            message.number, epoch, message.instruction, message.time_ns, message.time_ns, "running", truths
        )

    def _on_touched(self, message: Touched) -> None:
        if self._running is not None:
            truths = (*self._running.truths, (message.time_ns, message.subgoal))
            self._running = replace(self._running, truths=truths)

    def _on_ended(self, message: Ended) -> None:
        if self._running is not None:
            ended = replace(self._running, end_ns=message.time_ns, status=message.status)
            self.record.episodes.append(ended)
            self._running = None

    _handlers: Mapping[type, Callable[[Daemon, Any], None]] = {
        Port: _on_port,
        Failed: _on_failed,
        ChunkRecord: _on_chunk,
        SubgoalRecord: _on_subgoal,
        Refused: _on_refused,
        Laid: _on_laid,
        Touched: _on_touched,
        Ended: _on_ended,
    }

    def _write(self, kind: str, **fields: Any) -> None:
        if self._log is not None:
            self._log.write(kind, **{"time_ns": time.monotonic_ns(), **fields})


def check_match(manifest: Manifest, config: RobotConfig) -> None:
    """Raise :class:`ConfigError` where ROBOT.yaml describes another robot than the bundle was made for."""
    fix = "export the bundle for this robot with --robot"
    joints = tuple(joint.name for joint in config.drive.joints)
    if joints != manifest.embodiment.dof_names:
        wanted_joints = f"the bundle's {', '.join(manifest.embodiment.dof_names)}, in this order"
        raise ConfigError(f"ROBOT.yaml's joints {', '.join(joints)}", expected=wanted_joints, fix=fix)
    wanted = {name: (camera.width, camera.height) for name, camera in manifest.cameras.items()}
    found = {name: (camera.width, camera.height) for name, camera in config.cameras.items()}
    if wanted != found:
        raise ConfigError(f"ROBOT.yaml's cameras {found}", expected=f"the bundle's {wanted}", fix=fix)
    chunk_ms = 1000 * manifest.horizon / manifest.action_rate_hz
    if config.policy.chunk_period_ms >= chunk_ms:
        raise ConfigError(
            f"policy.chunk_period_ms is {config.policy.chunk_period_ms:g}",
            expected=f"less than a chunk lasts ({manifest.horizon} steps at {manifest.action_rate_hz:g} Hz, "
            f"{chunk_ms:.0f} ms)",
            fix="ask for chunks more often",
        )
