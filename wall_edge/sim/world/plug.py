"""A stage as the daemon's world: its process, and what its referee says of an episode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wall_edge.runtime.daemon.world import World
from wall_edge.runtime.telemetry.run_log import EpisodeRecord
from wall_edge.sim.world.messages import BlockTouch, EpisodeEnd, EpisodeStart, StartEpisode
from wall_edge.sim.world.process import run_world


class StageWorld(World):
    """Episodes one after the other; each one that ended goes into the run log."""

    gives_tasks = True

    def __init__(self) -> None:
        self._follow = True

    @property
    def body(self) -> Callable[..., None]:
        return run_world

    def start_episode(self, number: int, *, follow: bool = True) -> None:
        """Have the blocks of an episode laid."""
        self._follow = follow
        self.link.send_to_world(StartEpisode(number))

    def on_message(self, message: object) -> None:
        if isinstance(message, EpisodeStart):
            self._begin(message)
        elif isinstance(message, BlockTouch) and self.episode is not None:
            truths = (*self.episode.truths, (message.time_ns, message.subgoal))
            self.episode = replace(self.episode, truths=truths)
        elif isinstance(message, EpisodeEnd) and self.episode is not None:
            ended = replace(
                self.episode,
                end_ns=message.time_ns,
                status=message.status,
                least_tip_distance_m=message.least_tip_distance_m,
            )
            self.link.record.add(ended)
            self.episode = None

    def _begin(self, message: EpisodeStart) -> None:
        epoch = self.link.instruct(message.instruction) if self._follow else self.link.epoch
        began = message.time_ns
        truths = ((began, message.subgoal),)
        self.episode = EpisodeRecord(
            message.number, epoch, message.instruction, began, began, "running", truths
        )
