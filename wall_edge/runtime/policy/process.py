"""The policy process: action chunks in one loop, subgoals in words beside it.

The planner is a thread of its own, at a lower priority, with its own buffers on the same engine; inference
leaves Python's lock, so decoding a subgoal costs the action loop processor time but never makes it wait.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import wall_edge_engines

from wall_edge.bundle import Bundle
from wall_edge.config import PolicyConfig, RobotConfig
from wall_edge.errors import ConfigError, PolicyError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.messages import EngineNote, Instruct, Ready, Refusal, Stop
from wall_edge.runtime.ipc.reporting import reporting
from wall_edge.runtime.policy.action_loop import ActionLoop, PendingChunk, engine_settings, require_horizon
from wall_edge.runtime.policy.observer import Observer
from wall_edge.runtime.policy.sinks import SinkSockets
from wall_edge.runtime.telemetry.ring.events import EventRing
from wall_edge.runtime.telemetry.run_log import ChunkRecord, SubgoalRecord
from wall_edge.runtime.telemetry.session_recorder import RecordingOptions, SessionRecorder
from wall_edge.session_format import Sample, SessionHeader, SessionWriter

_PLANNER_NICE = 5
_IDLE_S = 0.005
_TRIES = 3
_SWITCH_S = 0.0005
"""How long the planner may keep Python's lock from the action loop: 5 ms by default, more than a tick."""


def run_policy(
    conn: Connection,
    config: RobotConfig,
    bundle: Bundle,
    frames: Mapping[str, Mailbox],
    feedback: Mailbox,
    chunks: Mailbox,
    events: EventRing,
    recording: RecordingOptions | None = None,
) -> None:
    """The body of the policy process; ends on Stop or when the supervisor is gone."""
    sys.setswitchinterval(_SWITCH_S)
    with reporting(conn):
        outbox = _Outbox(conn, events)
        process = PolicyProcess(config, bundle, frames, feedback, chunks, outbox, recording)
        outbox.send(EngineNote(process.engine))
        outbox.send(Ready())
        process.run(conn)


def require_pace(
    loop: ActionLoop, settings: PolicyConfig, clock: Callable[[], int] = time.monotonic_ns
) -> None:
    """Raise :class:`ConfigError` unless a chunk can come before it is over.

    A busy machine is given a few tries: a policy that is too slow is so in all of them.
    """
    taken_ns: list[int] = []
    while True:
        start_ns = clock()
        loop.warm_up()
        taken_ns.append(clock() - start_ns)
        try:
            return require_horizon(loop.manifest, settings, min(taken_ns), "an inference time")
        except ConfigError:
            if len(taken_ns) == _TRIES:
                raise


class _Outbox:
    """A connection that two threads may write to; chunks and subgoals go into the event log besides."""

    def __init__(self, conn: Connection, events: EventRing) -> None:
        self._conn, self._events, self._lock = conn, events, threading.Lock()

    def send(self, message: object) -> None:
        if isinstance(message, ChunkRecord | SubgoalRecord):
            self._events.write(type(message).__name__.lower(), **vars(message))
        with self._lock:
            self._conn.send(message)

    def log(self, kind: str, fields: dict[str, Any]) -> None:
        """Into the event log alone."""
        self._events.write(kind, **fields)


class PolicyProcess:
    """Loads the bundle that the supervisor has checked, then answers observations until told to stop."""

    def __init__(
        self,
        config: RobotConfig,
        bundle: Bundle,
        frames: Mapping[str, Mailbox],
        feedback: Mailbox,
        chunks: Mailbox,
        outbox: _Outbox,
        recording: RecordingOptions | None = None,
    ) -> None:
        self._config, self._chunks, self._outbox = config, chunks, outbox
        bundle.require_unchanged()
        self._stopping, self._forked = threading.Event(), threading.Event()
        self._trouble: Exception | None = None
        engine = wall_edge_engines.load(bundle, engine_settings(config.policy))
        self.engine = engine.description
        """What runs the graphs, in one line."""
        self._loop = ActionLoop(bundle, engine, config)
        self._sinks = SinkSockets(config.sinks)
        self._observer = Observer(config.cameras, frames, feedback)
        self._feedback = feedback.reader()
        self._record = np.zeros(1, chunks.dtype)[0]
        self._recorder: SessionRecorder | None = None
        if recording is not None:
            writer = SessionWriter(recording.folder, SessionHeader.of(bundle))
            self._recorder = SessionRecorder(writer, recording, self._recording_stopped)
        self._loop.warm_up()
        require_pace(self._loop, config.policy)

    def run(self, conn: Connection) -> None:
        """Alternate between messages and chunks; the first failure of either thread ends both."""
        thread = threading.Thread(target=self._plan, name="planner", daemon=True)
        if self._config.policy.subgoals:
            thread.start()
        try:
            while not self._stopping.is_set():
                ready = self._loop.ready(time.monotonic_ns(), self._feedback.latest())
                if conn.poll(0 if ready else _IDLE_S):
                    self._take(conn.recv())
                elif ready:
                    self._act()
            if self._trouble is not None:
                raise self._trouble
        finally:
            self._stopping.set()
            self._forked.set()
            if thread.is_alive():
                thread.join(timeout=2.0)
            if self._recorder is not None:
                self._recorder.close()

    def _take(self, message: object) -> None:
        if isinstance(message, Stop):
            self._stopping.set()
        elif isinstance(message, Instruct):
            self._loop.mission.instruct(message.epoch, message.time_ns, message.instruction)

    def _act(self) -> None:
        """One chunk, or one prefix for the planner, from a fresh observation."""
        active = self._loop.mission.active
        assert active is not None
        observation = self._observer.next(active.since_ns)
        count = self._loop.handoff.count
        try:
            pending = self._loop.begin(observation, time.monotonic_ns())
        except PolicyError as error:
            self._outbox.send(Refusal("chunk", str(error)))
            pending = None
        if self._loop.handoff.count != count:
            self._forked.set()
        if pending is not None:
            self._publish(pending)

    def _recording_stopped(self, reason: str) -> None:
        self._outbox.send(Refusal("recording", reason))

    def _publish(self, pending: PendingChunk) -> None:
        published = self._loop.finish(pending, time.monotonic_ns())
        if published is None:
            return
        chunk, record = published
        chunk.fill(self._record)
        self._record["published_time_ns"] = time.monotonic_ns()
        self._chunks.write(self._record)
        self._outbox.send(record)
        for line in self._sinks.send(chunk, pending.body.sinks):
            self._outbox.log("sink", line)
        if self._recorder is not None:
            self._recorder.offer(Sample(pending.premise, record.subgoal, pending.values, chunk.epoch))

    def _plan(self) -> None:
        """The planner thread: words for each prefix that the action loop hands over."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PLANNER_NICE)
        try:
            while not self._stopping.is_set():
                self._forked.wait()
                self._forked.clear()
                if not self._stopping.is_set():
                    self._plan_once()
        except Exception as error:  # noqa: BLE001 - raised again by the process's main thread
            self._trouble = error
        finally:
            self._stopping.set()

    def _plan_once(self) -> None:
        words: str | None = None
        try:
            words = self._loop.handoff.decode()
        except PolicyError as error:
            self._outbox.send(Refusal("subgoal", str(error)))
        record = self._loop.handoff.done(words, time.monotonic_ns())
        if record is not None:
            self._outbox.send(record)
