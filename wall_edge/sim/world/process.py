"""The simulated robot as a process: its world's cameras and referee, beside its motors on simulated buses.

It stands in for hardware: the daemon talks to it over ports and channels, and reads frames like any camera's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt

from wall_edge.config import RobotConfig
from wall_edge.runtime.ipc.mailbox import Mailbox, MailboxReader
from wall_edge.runtime.ipc.messages import Places, Stop
from wall_edge.runtime.ipc.reporting import reporting
from wall_edge.runtime.servo import realtime
from wall_edge.sim.blocks import STEP_HZ
from wall_edge.sim.motors import motors
from wall_edge.sim.stage import Stage
from wall_edge.sim.twins import RobotTwins
from wall_edge.sim.world.messages import BlockTouch, EpisodeEnd, EpisodeStart, StartEpisode
from wall_edge.sim.world.stages import stage_of

_STEP_NS = round(1e9 / STEP_HZ)


def run_world(conn: Connection, config: RobotConfig, frames: Mapping[str, Mailbox]) -> None:
    """The body of the simulation process; ends on Stop or when the supervisor is gone."""
    # Real servos and cameras answer whatever the processor is doing, so their stand-in is not preempted.
    realtime.apply(config.control.fifo_priority, None, lock_memory=False)
    with reporting(conn):
        kind = stage_of(config)
        assert config.simulation is not None
        with motors(RobotTwins(config, kind.rest), conn) as running:
            world = WorldProcess(config, kind.open(config.simulation), frames, conn, running.positions)
            conn.send(Places(running.places))
            world.run()


class WorldProcess:
    """Cameras and referee go by the wall clock, and by where the motors say that the joints are."""

    def __init__(
        self,
        config: RobotConfig,
        stage: Stage,
        frames: Mapping[str, Mailbox],
        conn: Connection,
        positions: MailboxReader,
    ) -> None:
        self._world = stage
        self._conn, self._positions = conn, positions
        self._frames = {name: frames[name] for name, camera in config.cameras.items() if camera.kind == "sim"}
        self._period_ns = {name: round(1e9 / config.cameras[name].rate_hz) for name in self._frames}
        now = time.monotonic_ns()
        self._next_step = now
        self._next_frame = dict.fromkeys(self._period_ns, now)
        self._records = {name: np.zeros(1, record.dtype)[0] for name, record in self._frames.items()}
        self._number = -1
        self._touched = 0

    def run(self) -> None:
        """Until told to stop."""
        while True:
            due = min(self._next_step, *self._next_frame.values())
            wait = max(0.0, (due - time.monotonic_ns()) / 1e9)
            if self._conn.poll(wait):
                message = self._conn.recv()
                if isinstance(message, Stop):
                    return
                if isinstance(message, StartEpisode):
                    self._lay(message.number)
            now = time.monotonic_ns()
            if now >= self._next_step:
                self._step(now)
            if any(now >= at for at in self._next_frame.values()):
                self._expose(now)

    def _joints(self) -> npt.NDArray[np.float64]:
        """[dof] rad"""
        record = self._positions.latest()
        assert record is not None  # one was written before this process went on
        joints: npt.NDArray[np.float64] = record["position"]
        return joints

    def _lay(self, number: int) -> None:
        episode = self._world.new_episode(number)
        self._number, self._touched = number, 0
        self._conn.send(EpisodeStart(number, time.monotonic_ns(), episode.instruction, episode.subgoal))

    def _step(self, now: int) -> None:
        """One step of the referee; what it saw is told as it happens."""
        self._next_step = _next(self._next_step, _STEP_NS, now)
        before = self._world.episode.status
        status = self._world.step(self._joints())
        if self._number < 0:
            return
        if before == "running" and status != "running":
            least = self._world.episode.least_tip_distance_m
            self._conn.send(EpisodeEnd(self._number, now, status, least))
        elif self._world.episode.touched != self._touched:
            self._touched = self._world.episode.touched
            self._conn.send(BlockTouch(self._number, now, self._world.episode.subgoal))

    def _expose(self, now: int) -> None:
        """Take a frame with every camera that is due; all see the same moment."""
        pictures = self._world.frames(self._joints())
        for name, at in self._next_frame.items():
            if now < at:
                continue
            self._next_frame[name] = _next(at, self._period_ns[name], now)
            record = self._records[name]
            record["time_ns"], record["index"] = now, record["index"] + 1
            record["pixels"] = pictures[name]
            self._frames[name].write(record)


def _next(due: int, period: int, now: int) -> int:
    """When the next step is due: after a stall it goes on from now, and never twice at once to catch up."""
    return due + period if due + period > now else now + period
