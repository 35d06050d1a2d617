"""What a policy looks at, and what may pull its chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wall_edge.array_types import Floats, Frame


@dataclass(frozen=True)
class Observation:
    """What the robot saw: frames ``[h, w, 3]`` uint8 by camera, and its state.

    ``state``: a policy is given policy values ``[degrees]``; the observer measures joints ``[dof]`` in rad,
    of which ``wall_edge.body`` makes them. ``time_ns`` is when the joints were measured, ``frames_ns`` when
    the oldest frame was taken (CLOCK_MONOTONIC), ``plan_ns`` the plan clock at ``time_ns``; ``index`` counts
    observations.
    """

    time_ns: int
    frames: Mapping[str, Frame]
    state: Floats
    frames_ns: int = 0
    plan_ns: int = 0
    index: int = 0


@dataclass(frozen=True)
class Guidance:
    """Where a chunk should go: policy values ``target [horizon, degrees]``, ``weights [horizon]`` in 0 to 1.

    ``max_weight`` bounds the guidance at every flow step; ``jacobian``: through the expert's Jacobian.
    """

    target: Floats
    weights: Floats
    max_weight: float
    jacobian: bool
