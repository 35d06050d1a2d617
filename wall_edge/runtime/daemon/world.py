"""How a simulated world plugs into the daemon, which knows none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol

from wall_edge.runtime.telemetry.run_log import EpisodeRecord, RunLog


class WorldLink(Protocol):
    """What the daemon lends a world."""

    record: RunLog

    @property
    def epoch(self) -> int:
        """Of the instruction in force."""

    def instruct(self, instruction: str) -> int:
        """Have the arm follow an instruction; its epoch."""

    def send_to_world(self, message: object) -> None:
        """To the world's process."""


class World(ABC):
    """What stands in for arm and cameras: a process, and what its messages mean.

    The process (:meth:`body`, with its end of a pipe, the RobotConfig and the cameras' mailboxes) says
    :class:`~wall_edge.runtime.ipc.messages.Places` once its motors answer there. What else it says comes to
    :meth:`on_message`. A world that gives tasks, and judges them as episodes, says so in ``gives_tasks``.
    """

    gives_tasks: ClassVar[bool] = False
    """Whether an arm without an instruction has something to do here."""
    link: WorldLink
    """Set by the daemon before anything starts."""
    episode: EpisodeRecord | None = None
    """The one under way. One that ended goes into ``link.record``."""

    @property
    @abstractmethod
    def body(self) -> Callable[..., None]:
        """The body of the process: a function of a module, as it is started by name."""

    def start_episode(  # noqa: B027 - a world without tasks has nothing to begin
        self, number: int, *, follow: bool = True
    ) -> None:
        """Begin a task, the same for the same ``number``; ``follow``: have the arm follow its instruction."""

    @abstractmethod
    def on_message(self, message: object) -> None:
        """A message of the world's own."""
