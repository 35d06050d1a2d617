"""What the daemon and a simulated world with tasks say to each other over the world's pipe."""

from __future__ import annotations

from dataclasses import dataclass


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
    """From the world: success, or why not: wrong_block, wrong_hand or timeout."""

    number: int
    time_ns: int
    status: str
    least_tip_distance_m: float | None = None
    """How near two tips came; None for a robot with one."""
