"""What travels through the mailboxes: numpy structured types, all of fixed size.

Times are CLOCK_MONOTONIC nanoseconds. Whatever counts is int64: arithmetic never meets an unsigned number.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np


class ServoCommand(IntEnum):
    """What the supervisor wants the servo process to do (``wanted`` of a command record)."""

    HOLD = 0
    FOLLOW = 1
    STOP = 2
    EMERGENCY_STOP = 3


class ServoState(IntEnum):
    """What the servo process does (``state`` of a feedback record).

    The way from one to the next is a table in :mod:`wall_edge.runtime.servo.states`.
    """

    STARTING = 0
    HOLDING = 1
    FOLLOWING = 2
    STOPPING = 3
    RELEASED = 4
    FAULT = 5
    SLOWING = 6


def chunk_dtype(horizon: int, dof: int) -> np.dtype[Any]:
    """An action chunk: step k of ``positions`` [rad] is due at plan time ``plan_start_ns + k · dt_ns``.

    ``length`` ≤ horizon rows of ``positions`` count. ``index`` grows within an ``epoch``; a new epoch (new
    instruction, restarted policy) makes every chunk of the old one void.
    """
    return np.dtype(
        [
            ("index", np.int64),
            ("observation_time_ns", np.int64),
            ("published_time_ns", np.int64),
            ("plan_start_ns", np.int64),
            ("dt_ns", np.int64),
            ("subgoal_id", np.int64),
            ("epoch", np.int64),
            ("length", np.int64),
            ("positions", np.float64, (horizon, dof)),
        ]
    )


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
    """``command`` (a :class:`ServoCommand`) in ``epoch``; ``heartbeat_ns``: the supervisor lives."""
    return np.dtype([("command", np.int64), ("epoch", np.int64), ("heartbeat_ns", np.int64)])
