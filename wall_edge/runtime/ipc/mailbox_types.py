"""What travels through the mailboxes: numpy structured types, all of fixed size.

Times are CLOCK_MONOTONIC nanoseconds. Whatever counts is int64: arithmetic never meets an unsigned number.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np

from wall_edge.array_types import Floats


class ServoCommand(IntEnum):
    """What the supervisor wants the servo process to do (``wanted`` of a command record)."""

    HOLD = 0
    FOLLOW = 1
    STOP = 2
    EMERGENCY_STOP = 3


ON_ARRIVAL = -1
"""As ``plan_start_ns`` of a chunk: its first step is due when it is taken, however old it is."""


@dataclass(frozen=True)
class Chunk:
    """An action chunk: step k of ``positions`` [length, dof, rad] is due at ``plan_start_ns + k · dt_ns``.

    That is a time of the plan clock, which counts the time in which chunks were really executed
    (``motion.chunk_track``); the others are CLOCK_MONOTONIC. ``index`` grows within an ``epoch``; a new epoch
    (new instruction, restarted policy) makes every chunk of the old one void.
    """

    index: int
    observation_time_ns: int
    dt_ns: int
    epoch: int
    positions: Floats
    plan_start_ns: int
    published_time_ns: int = 0
    subgoal_id: int = -1

    @classmethod
    def of(cls, record: np.void) -> Chunk:
        """Of a record of :func:`chunk_dtype`; ``positions`` stays a view of it."""
        positions = record["positions"][: max(0, int(record["length"]))]
        return cls(positions=positions, **{name: int(record[name]) for name in _CHUNK_NUMBERS})

    def fill(self, record: np.void) -> None:
        """Writes this chunk into a record whose horizon is at least as long."""
        for name in _CHUNK_NUMBERS:
            record[name] = getattr(self, name)
        length = len(self.positions)
        record["length"] = length
        record["positions"][:length] = self.positions
        record["positions"][length:] = 0.0


_CHUNK_NUMBERS = tuple(field.name for field in fields(Chunk) if field.name != "positions")


def chunk_dtype(horizon: int, dof: int) -> np.dtype[Any]:
    """The fields of a :class:`Chunk`; ``length`` ≤ horizon rows of ``positions`` count."""
    numbers = [(name, np.int64) for name in (*_CHUNK_NUMBERS, "length")]
    return np.dtype([*numbers, ("positions", np.float64, (horizon, dof))])


def frame_dtype(height: int, width: int) -> np.dtype[Any]:
    """A camera frame: RGB ``pixels`` [height, width, 3] that arrived at ``time_ns``."""
    return np.dtype([("time_ns", np.int64), ("index", np.int64), ("pixels", np.uint8, (height, width, 3))])


def feedback_dtype(dof: int) -> np.dtype[Any]:
    """What the servo process did at one tick (at ``time_ns``) and where the joints were (at ``measured_ns``).

    ``position`` and ``setpoint`` [dof] in rad; ``state`` is a ``ServoState``;
    ``chunk_index`` and ``epoch`` name the chunk followed, chunk_index is -1 for none; ``last_index`` is the
    last chunk taken in this epoch. ``plan_ns`` is the plan clock: how long chunks have been executed.
    """
    return np.dtype(
        [
            ("time_ns", np.int64),
            ("measured_ns", np.int64),
            ("tick", np.int64),
            ("state", np.int64),
            ("epoch", np.int64),
            ("chunk_index", np.int64),
            ("last_index", np.int64),
            ("plan_ns", np.int64),
            ("position", np.float64, (dof,)),
            ("setpoint", np.float64, (dof,)),
        ]
    )


def command_dtype() -> np.dtype[Any]:
    """``wanted`` (a :class:`ServoCommand`) in ``epoch``; ``heartbeat_ns``: the supervisor lives."""
    return np.dtype([("wanted", np.int64), ("epoch", np.int64), ("heartbeat_ns", np.int64)])
