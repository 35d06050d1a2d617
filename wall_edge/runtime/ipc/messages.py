"""What the supervisor and the processes of the daemon say to each other over their pipes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """To any process: end."""


@dataclass(frozen=True)
class Ready:
    """From any process: started."""


@dataclass(frozen=True)
class Failure:
    """From any process: it ends, for this reason."""

    reason: str


@dataclass(frozen=True)
class Instruct:
    """To the policy: a new task in words; chunks of earlier epochs and earlier frames are void."""

    epoch: int
    time_ns: int
    instruction: str


@dataclass(frozen=True)
class Refusal:
    """From the policy: a ``chunk`` or a ``subgoal`` that must not be used, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Port:
    """From the world: the pseudo-terminal of the simulated servos."""

    path: str


@dataclass(frozen=True)
class StartEpisode:
    """To the world: lay the blocks of episode ``number``."""

    number: int


@dataclass(frozen=True)
class EpisodeStart:
    """From the world: an episode begins; ``subgoal`` is the right one."""

    number: int
    time_ns: int
    instruction: str
    subgoal: str


@dataclass(frozen=True)
class BlockTouch:
    """From the world: a block was touched; ``subgoal`` is the right one from now on."""

    number: int
    time_ns: int
    subgoal: str


@dataclass(frozen=True)
class EpisodeEnd:
    """From the world: success, wrong_block or timeout."""

    number: int
    time_ns: int
    status: str
