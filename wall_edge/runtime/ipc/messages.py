"""What the supervisor and the processes of the daemon say to each other over their pipes.

What a simulated world and the daemon say beyond that is the world's (:mod:`wall_edge.sim.world.messages`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """To any process: end."""


@dataclass(frozen=True)
class Ready:
    """From any process: started."""


@dataclass(frozen=True)
class EngineNote:
    """From the policy: what runs the graphs, and what was chosen for this machine, in one line."""

    text: str


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
class Places:
    """From the world: where its motors are, by the drive's name: a pseudo-terminal, or a bus's socket."""

    by_drive: dict[str, str]
