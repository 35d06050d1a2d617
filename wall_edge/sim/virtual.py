"""The daemon in virtual time: its servo loop, schedulers and policy in one thread, events in order of time.

What runs is what runs on the robot: :class:`ServoLoop`, the drives and every byte and frame of their buses,
:class:`ActionLoop`, :class:`Observer`, the mailboxes and their records. Only the clock, the motors, the
supervisor's heartbeat and the time that inference takes are simulated, so an episode depends on its seed and
the delays alone, and takes as long as it takes to compute.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.config import RobotConfig
from wall_edge.errors import CameraError, PolicyError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import (
    Chunk,
    ServoCommand,
    chunk_dtype,
    command_dtype,
    feedback_dtype,
    frame_dtype,
)
from wall_edge.runtime.policy.action_loop import ActionLoop, PendingChunk
from wall_edge.runtime.policy.observer import Observer
from wall_edge.runtime.servo.loop import ServoLoop
from wall_edge.runtime.telemetry.run_log import ChunkRecord, SubgoalRecord
from wall_edge.sim.blocks import STEP_HZ
from wall_edge.sim.twins import RobotTwins
from wall_edge.sim.virtual_drives import VirtualDrives
from wall_edge.sim.world.stages import stage_of

_STEP_NS = round(1e9 / STEP_HZ)
_HEARTBEAT_NS = 50_000_000
_EPISODE_NS = 1_000_000_000_000
"""Between the starts of two episodes: nothing of one reaches into the next."""


@dataclass(frozen=True)
class Delays:
    """How long inference takes [ms]: a chunk ``chunk_ms`` ± ``jitter_ms``, a subgoal ``subgoal_ms``."""

    chunk_ms: float = 0.0
    jitter_ms: float = 0.0
    subgoal_ms: float = 0.0


class VirtualRobot:
    """One episode: ``number`` of the world that ``config.simulation`` describes, from the rest pose.

    ``actions`` may be used for one robot after the other. Inject a fault by overriding what it is about:
    ``tamper`` sees every chunk before it goes out, ``look`` every picture; the rest is in plain sight.
    """

    def __init__(self, config: RobotConfig, actions: ActionLoop, number: int, delays: Delays) -> None:
        simulation = config.simulation
        assert simulation is not None
        self.config, self.actions, self.delays = config, actions, delays
        self.now = (number + 1) * _EPISODE_NS
        self._rng = np.random.default_rng([simulation.seed, number, 3])
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        kind = stage_of(config)
        self.world = kind.open(simulation)
        self.twins = RobotTwins(config, kind.rest)
        self.drive = VirtualDrives(config, self.twins, self.clock, self._sleep)
        manifest = actions.manifest
        self.chunks = Mailbox(chunk_dtype(manifest.horizon, config.dof))
        self.feedback, self.command = Mailbox(feedback_dtype(config.dof)), Mailbox(command_dtype())
        self.frames = {
            name: Mailbox(frame_dtype(camera.height, camera.width)) for name, camera in config.cameras.items()
        }
        self.loop = ServoLoop(
            config,
            lambda: self.drive,
            self.chunks,
            self.command,
            self.feedback,
            clock=self.clock,
            sleep=self._sleep,
        )
        self._servo = self.feedback.reader()
        self._observer = Observer(
            config.cameras, self.frames, self.feedback, self.clock, first_index=number * 100_000 + 1
        )
        self.intent, self.epoch, self.heart_beats = ServoCommand.HOLD, 0, True
        self.policy_alive, self.policy_hangs = True, False
        self.tamper: Callable[[Chunk], Chunk] = lambda chunk: chunk
        self.look: Callable[[dict[str, npt.NDArray[np.uint8]]], dict[str, npt.NDArray[np.uint8]]]
        self.look = lambda pictures: pictures
        self.extra_delay_ms = 0.0
        self.over = False
        """Whether the arm has been released."""
        self.published: list[ChunkRecord] = []
        self.subgoals: list[tuple[SubgoalRecord, str]] = []
        """Every subgoal with the one that was right when its pictures were taken."""
        self._busy = False
        self._picture_truth = ""
        self._number = number

    def clock(self) -> int:
        """Virtual CLOCK_MONOTONIC [ns]."""
        return self.now

    def _sleep(self, until_ns: int) -> None:
        self.now = max(self.now, until_ns)

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Do something at a time; what is due at the same time happens in the order of asking."""
        heapq.heappush(self._events, (time_ns, next(self._order), action))

    def start(self) -> None:
        """Power the arm and begin the episode."""
        self.beat()
        self.loop.start()
        self.beat()  # motors may have taken their time
        self.at(self.now, self._tick)
        self.at(self.now, self._step)
        episode = self.world.new_episode(self._number)
        self.epoch, self.intent = self._number + 1, ServoCommand.FOLLOW
        self.actions.mission.instruct(self.epoch, self.now, episode.instruction)
        self.at(self.now, self._heart)

    def run(self, until: Callable[[], bool]) -> None:
        """Let time pass until the condition holds, or the arm has been released."""
        while not until() and not self.over:
            due, _, action = heapq.heappop(self._events)
            self.now = max(self.now, due)
            action()

    def stop(self) -> None:
        """Bring the arm to rest, as the end of the daemon does."""
        self.intent = ServoCommand.STOP
        self.beat()

    def leave(self) -> None:
        """Give the shared policy back as it was found."""
        if self.actions.handoff.busy:
            self.actions.handoff.done(None, self.now)
        self.actions.forget()

    # --- the processes ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self.loop.advance():
            self.at(self.loop.ticker.deadline_ns + self.loop.ticker.period_ns, self._tick)
        else:
            self.loop.finish()
            self.over = True

    def _heart(self) -> None:
        """The supervisor: a heartbeat, and a look at whether the policy process lives."""
        if not self.heart_beats:
            return
        if not self.policy_alive:
            self.intent = ServoCommand.STOP
        self.beat()
        self.at(self.now + _HEARTBEAT_NS, self._heart)

    def beat(self) -> None:
        """Tell the servo process what to do, and that the supervisor lives."""
        order = np.zeros(1, self.command.dtype)[0]
        order["command"], order["epoch"], order["heartbeat_ns"] = self.intent, self.epoch, self.now
        self.command.write(order)

    def _step(self) -> None:
        """The world moves on by one step, and the cameras take a picture of it."""
        self.at(self.now + _STEP_NS, self._step)
        self.world.step(self.drive.positions())
        if not self._busy and self.policy_alive and self.actions.ready(self.now, self._servo.latest()):
            self._expose()
            self._think()

    def _expose(self) -> None:
        """Pictures are drawn only when the policy looks: that is most of their cost."""
        pictures = self.look(self.world.frames(self.drive.positions()))
        self._picture_truth = self.world.episode.subgoal
        for name, shared in self.frames.items():
            record = np.zeros(1, shared.dtype)[0]
            record["time_ns"], record["pixels"] = self.now, pictures[name]
            shared.write(record)

    def _think(self) -> None:
        active = self.actions.mission.active
        assert active is not None
        count, pending = self.actions.handoff.count, None
        try:
            observation = self._observer.poll(active.since_ns)
            if observation is None:
                return
            pending = self.actions.begin(observation, self.now)
        except PolicyError:
            pass  # refused, as by the policy process: the arm goes on with what it has
        except CameraError:
            self.policy_alive = False
        if self.actions.handoff.count != count:
            self._word(self._picture_truth)
        if pending is not None:
            self._busy = True
            self.at(self.now + self._delay_ns(), lambda: self._publish(pending))

    def _delay_ns(self) -> int:
        jitter = self._rng.uniform(-1.0, 1.0) * self.delays.jitter_ms
        return round(1e6 * max(0.0, self.delays.chunk_ms + jitter + self.extra_delay_ms))

    def _publish(self, pending: PendingChunk) -> None:
        if not self.policy_alive or self.policy_hangs:
            return
        self._busy = False
        published = self.actions.finish(pending, self.now)
        if published is None:
            return
        chunk, record = published
        self.published.append(record)
        self.tamper(chunk).fill(filled := np.zeros(1, self.chunks.dtype)[0])
        self.chunks.write(filled)

    def _word(self, truth: str) -> None:
        try:
            words: str | None = self.actions.handoff.decode()
        except PolicyError:
            words = None

        def done() -> None:
            record = self.actions.handoff.done(words, self.now)
            if record is not None:
                self.subgoals.append((record, truth))

        self.at(self.now + round(1e6 * self.delays.subgoal_ms), done)
