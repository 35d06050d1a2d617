"""The policy process: action chunks in one loop, subgoals in words beside it.

The planner is a thread of its own with its own buffers on the same engine; inference leaves Python's lock,
so decoding a subgoal costs the action loop processor time but never makes it wait.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt
import wall_edge_engines

from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig
from wall_edge.errors import PolicyError
from wall_edge.fast_policy import action_policy
from wall_edge.planner import Mission, Orders
from wall_edge.policy import Observation, Prompts, SubgoalPlanner, new_session
from wall_edge.record import ChunkRecord, SubgoalRecord
from wall_edge.recording import Moment, SessionHeader, SessionWriter
from wall_edge.runtime.children import reporting
from wall_edge.runtime.messages import Instruct, Ready, Refused, Stop
from wall_edge.runtime.observer import Observer
from wall_edge.runtime.recorder import Recorder, RecordingOptions
from wall_edge.runtime.schedule import Chunk
from wall_edge.runtime.shared import SharedRecord

__all__ = ["run_policy"]

_PLANNER_NICE = 5
_IDLE_S = 0.005


def run_policy(
    conn: Connection,
    config: RobotConfig,
    frames: Mapping[str, SharedRecord],
    feedback: SharedRecord,
    chunks: SharedRecord,
    recording: RecordingOptions | None = None,
) -> None:
    """The body of the policy process; ends on Stop or when the supervisor is gone."""
    with reporting(conn):
        outbox = _Outbox(conn)
        process = PolicyProcess(config, frames, feedback, chunks, outbox, recording)
        outbox.send(Ready())
        process.run(conn)


class _Outbox:
    """A connection that two threads may write to."""

    def __init__(self, conn: Connection) -> None:
        self._conn, self._lock = conn, threading.Lock()

    def send(self, message: object) -> None:
        with self._lock:
            self._conn.send(message)


class PolicyProcess:
    """Loads the bundle, then answers observations until told to stop."""

    def __init__(
        self,
        config: RobotConfig,
        frames: Mapping[str, SharedRecord],
        feedback: SharedRecord,
        chunks: SharedRecord,
        outbox: _Outbox,
        recording: RecordingOptions | None = None,
    ) -> None:
        self._config, self._chunks, self._outbox = config, chunks, outbox
        bundle = Bundle(config.bundle)
        self._manifest = bundle.manifest
        self._mission = Mission(subgoals=config.policy.subgoals)
        self._stopping = threading.Event()
        self._trouble: Exception | None = None
        self._index = 0
        engine = wall_edge_engines.load(bundle, threads=config.policy.threads)
        prompts = [Prompts.of(bundle), Prompts.of(bundle)]
        sessions = [new_session(self._manifest, engine) for _ in prompts]
        self._observers = [Observer(config.cameras, frames, feedback) for _ in prompts]
        steps = config.policy.integration_steps
        self._policy = action_policy(bundle, prompts[0], sessions[0], integration_steps=steps)
        self._planner = SubgoalPlanner(self._manifest, prompts[1], sessions[1])
        self._record = np.zeros(1, chunks.dtype)[0]
        self._recorder: Recorder | None = None
        if recording is not None:
            writer = SessionWriter(recording.folder, SessionHeader.of(bundle))
            self._recorder = Recorder(writer, recording, self._recording_stopped)

    def run(self, conn: Connection) -> None:
        """Alternate between messages and chunks; the first failure of either thread ends both."""
        thread = threading.Thread(target=self._plan, name="planner", daemon=True)
        if self._config.policy.subgoals:
            thread.start()
        period = self._config.policy.chunk_period_ms / 1e3
        due = time.monotonic()
        try:
            while not self._stopping.is_set():
                if conn.poll(max(0.0, due - time.monotonic())):
                    self._take(conn.recv())
                    continue
                acted = self._act()
                due = max(due + period, time.monotonic()) if acted else time.monotonic() + _IDLE_S
            if self._trouble is not None:
                raise self._trouble
        finally:
            self._stopping.set()
            if thread.is_alive():
                thread.join(timeout=2.0)
            if self._recorder is not None:
                self._recorder.close()

    def _take(self, message: object) -> None:
        if isinstance(message, Stop):
            self._stopping.set()
        elif isinstance(message, Instruct):
            self._mission.instruct(message.epoch, message.time_ns, message.instruction)

    def _act(self) -> bool:
        """Try for one chunk from a fresh observation; False while there are no words to act on."""
        orders = self._mission.orders
        if orders is None or orders.words is None:
            return False
        observation = self._observers[0].next(orders.since_ns)
        try:
            positions = self._policy.chunk(observation, orders.words)
        except PolicyError as error:
            self._outbox.send(Refused("chunk", str(error)))
            return True
        if (now := self._mission.orders) is not None and now.epoch == orders.epoch:
            self._publish(orders, observation, positions)
            if self._recorder is not None:
                self._recorder.offer(Moment(observation, orders.words, positions, orders.epoch))
        return True

    def _recording_stopped(self, reason: str) -> None:
        self._outbox.send(Refused("recording", reason))

    def _publish(self, orders: Orders, observation: Observation, positions: npt.NDArray[np.float64]) -> None:
        self._index += 1
        published = time.monotonic_ns()
        chunk = Chunk(
            index=self._index,
            observation_time_ns=observation.time_ns,
            dt_ns=round(1e9 / self._manifest.action_rate_hz),
            epoch=orders.epoch,
            positions=positions,
            published_time_ns=published,
            subgoal_id=orders.subgoal_id,
        )
        chunk.fill(self._record)
        self._chunks.write(self._record)
        words = orders.words or ""
        self._outbox.send(
            ChunkRecord(chunk.index, orders.epoch, observation.time_ns, published, orders.subgoal_id, words)
        )

    def _plan(self) -> None:
        """The planner thread: the next subgoal from fresh frames, again and again."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PLANNER_NICE)
        try:
            while not self._stopping.is_set():
                self._plan_once()
        except Exception as error:  # noqa: BLE001 - raised again by the process's main thread
            self._trouble = error
        finally:
            self._stopping.set()

    def _plan_once(self) -> None:
        self._mission.changed.clear()  # before the orders are read, so that no new instruction is missed
        orders = self._mission.orders
        if orders is None:
            self._mission.changed.wait(_IDLE_S)
            return
        observation = self._observers[1].next(orders.since_ns)
        try:
            words = self._planner.subgoal(observation, orders.instruction)
        except PolicyError as error:
            self._outbox.send(Refused("subgoal", str(error)))
            self._tell(orders, observation, switched=False, words="")
            return
        if (taken := self._mission.offer(orders.epoch, words)) is None:
            return
        held, switched = taken
        self._tell(held, observation, switched=switched, words=words)
        self._mission.changed.wait(self._config.policy.subgoal_period_ms / 1e3)

    def _tell(self, orders: Orders, observation: Observation, *, switched: bool, words: str) -> None:
        """Report a subgoal; one that did not end has no words and is judged like any other."""
        ready = time.monotonic_ns()
        self._outbox.send(
            SubgoalRecord(orders.subgoal_id, orders.epoch, observation.frames_ns, ready, words, switched)
        )
