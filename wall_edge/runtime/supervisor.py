"""The daemon's supervisor: starts the processes, tells them what is wanted, collects what happened."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wall_edge.bundle import Bundle, Manifest
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.record import ChunkRecord, EpisodeRecord, FrameRecord, RunRecord, SubgoalRecord
from wall_edge.runtime.camera_process import run_camera
from wall_edge.runtime.events import EventLog
from wall_edge.runtime.messages import Ended, Failed, Instruct, Laid, Lay, Port, Ready, Refused, Stop, Touched
from wall_edge.runtime.policy_process import run_policy
from wall_edge.runtime.records import Wanted, chunk_dtype, command_dtype, feedback_dtype, frame_dtype
from wall_edge.runtime.servo import run_servo
from wall_edge.runtime.shared import SharedRecord
from wall_edge.runtime.states import State
from wall_edge.sim.process import run_world

__all__ = ["Daemon", "check_match"]

_POLL_S = 0.05
_START_S = 60.0
_REST_S = 30.0
_EXIT_S = 5.0


@dataclass
class _Child:
    process: SpawnProcess
    conn: Connection


class Daemon:
    """The running robot: ``with Daemon(config) as daemon: daemon.instruct(…); daemon.poll()``.

    Everything that runs, in order of starting:

    =======  ====================================================  ==============
    process  what it does                                          when
    =======  ====================================================  ==============
    world    simulated servos, cameras and referee                 in simulation
    camera…  one for each real camera                              cameras
    servo    joint setpoints on absolute deadlines, talks to bus   always
    policy   action chunks and subgoals                            always
    =======  ====================================================  ==============

    Leaving the context brings the arm to rest and releases it. :meth:`poll` must be called at least once a
    second: it carries the heartbeat without which the servo process takes the arm to rest by itself.
    """

    def __init__(self, config: RobotConfig, *, events: Path | None = None) -> None:
        self.config = config
        self.manifest = Bundle(config.bundle).manifest
        check_match(self.manifest, config)
        self.record = RunRecord(joint_names=tuple(joint.name for joint in config.drive.joints))
        self.epoch = 0
        self._events_path = events
        self._log = EventLog(events) if events is not None else None
        self._children: dict[str, _Child] = {}
        self._context = multiprocessing.get_context("spawn")
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
        self._stopped = False
        self._failure = ""

    # --- life ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Daemon:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        if self.config.simulated:
            self._spawn("world", run_world, self.config, self._frames)
            self._until(lambda: self._port != "sim", "the simulated arm's port")
        for name, camera in self.config.cameras.items():
            if camera.kind == "opencv":
                self._spawn(f"camera {name}", run_camera, name, camera, self._frames[name])
                self._until_ready(f"camera {name}")
        self._heartbeat()
        self._spawn(
            "servo",
            run_servo,
            self.config,
            self._port,
            self._chunks,
            self._command,
            self._feedback,
            events=self._events_path,
        )
        self._until(lambda: self.state is State.HOLDING, "the arm to hold")
        self._spawn("policy", run_policy, self.config, self._frames, self._feedback, self._chunks)
        self._until_ready("policy")

    def _spawn(self, name: str, body: Callable[..., None], *arguments: Any, **more: Any) -> None:
        """Start a process whose body takes its end of a pipe after the other arguments."""
        ours, theirs = self._context.Pipe()
        extra = (more["events"],) if "events" in more else ()
        process = self._context.Process(
            target=body, args=(*arguments, theirs, *extra), name=f"wall-edge-{name}"
        )
        process.start()
        theirs.close()
        self._children[name] = _Child(process, ours)

    def _until_ready(self, name: str) -> None:
        self._until(lambda: name in self._ready, f"the {name} process")

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_S
        while not done():
            self.poll()
            if time.monotonic() > deadline:
                raise RuntimeFault(f"waited {_START_S:.0f} s for {what}", expected="a start within that time")

    def stop(self) -> None:
        """Bring the arm to rest, release it and end all processes. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._wanted = Wanted.STOP
        self._await_servo()
        for name in self._children:
            self._end(name)
        if self._log is not None:
            self._log.close()

    def _await_servo(self) -> None:
        child = self._children.get("servo")
        if child is None:
            return
        deadline = time.monotonic() + _REST_S
        while child.process.is_alive() and not self.record.servo and time.monotonic() < deadline:
            self._heartbeat()
            self._receive()
        self._end("servo")

    def _end(self, name: str) -> None:
        child = self._children.get(name)
        if child is None:
            return
        with contextlib.suppress(OSError):  # it may have ended by itself
            child.conn.send(Stop())
        child.process.join(_EXIT_S)
        if child.process.is_alive():
            child.process.kill()
            child.process.join()

    # --- what is wanted -----------------------------------------------------------------------------------

    def instruct(self, instruction: str) -> int:
        """Follow a new instruction from now on; returns its epoch. Chunks of earlier epochs are void."""
        self.epoch += 1
        self._wanted = Wanted.FOLLOW
        self._heartbeat()
        self._children["policy"].conn.send(Instruct(self.epoch, instruction))
        self._write("instruct", epoch=self.epoch, instruction=instruction)
        return self.epoch

    def start_episode(self, number: int) -> None:
        """Have the simulated world lay the blocks of an episode; its instruction follows by itself."""
        self._children["world"].conn.send(Lay(number))

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

        Raises :class:`RuntimeFault` when a process failed or died; leaving the context still brings the arm
        to rest as far as the servo process can.
        """
        self._heartbeat()
        self._receive()
        failure = self._failure or self.record.servo.get("fault")
        if failure:
            raise RuntimeFault(str(failure))
        for name, child in self._children.items():
            if not child.process.is_alive() and not child.conn.poll():
                raise RuntimeFault(
                    f"the {name} process died (exit code {child.process.exitcode})",
                    fix="see the messages above; the arm is brought to rest",
                )

    def _heartbeat(self) -> None:
        order = self._order
        order["wanted"], order["epoch"], order["heartbeat_ns"] = self._wanted, self.epoch, time.monotonic_ns()
        self._command.write(order)

    def _receive(self) -> None:
        conns = {child.conn: name for name, child in self._children.items() if not child.conn.closed}
        for conn in wait(list(conns), timeout=_POLL_S):
            assert isinstance(conn, Connection)
            try:
                while conn.poll():
                    self._take(conns[conn], conn.recv())
            except (EOFError, OSError):
                conn.close()

    def _take(self, name: str, message: object) -> None:
        if name == "servo" and isinstance(message, dict):
            self.record.servo = message
            return
        self._write(type(message).__name__.lower(), **vars(message))
        if isinstance(message, Ready):
            self._ready.add(name)
        elif (handler := self._handlers().get(type(message))) is not None:
            handler(message)

    def _handlers(self) -> Mapping[type, Callable[[Any], None]]:
        return {
            Port: self._on_port,
            Failed: self._on_failed,
            ChunkRecord: self.record.chunks.append,
            SubgoalRecord: self.record.subgoals.append,
            Refused: lambda message: self.record.refused.update([message.what]),
            Laid: self._on_laid,
            Touched: self._on_touched,
            Ended: self._on_ended,
        }

    def _on_port(self, message: Port) -> None:
        if self._port == "sim":
            self._port = message.path

    def _on_failed(self, message: Failed) -> None:
        self._failure = self._failure or message.reason

    def _on_laid(self, message: Laid) -> None:
        epoch = self.instruct(message.instruction)
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

    def _write(self, kind: str, **fields: Any) -> None:
        if self._log is not None:
            self._log.write(kind, **{"time_ns": time.monotonic_ns(), **fields})


def check_match(manifest: Manifest, config: RobotConfig) -> None:
    """Raise :class:`ConfigError` where ROBOT.yaml describes another robot than the bundle was made for."""
    joints = tuple(joint.name for joint in config.drive.joints)
    if joints != manifest.embodiment.dof_names:
        raise ConfigError(
            f"ROBOT.yaml's joints {', '.join(joints)}",
            expected=f"the bundle's {', '.join(manifest.embodiment.dof_names)}, in this order",
            fix="export the bundle for this robot with --robot",
        )
    wanted = {name: (camera.width, camera.height) for name, camera in manifest.cameras.items()}
    found = {name: (camera.width, camera.height) for name, camera in config.cameras.items()}
    if wanted != found:
        raise ConfigError(
            f"ROBOT.yaml's cameras {found}",
            expected=f"the bundle's {wanted}",
            fix="export the bundle for this robot with --robot",
        )
