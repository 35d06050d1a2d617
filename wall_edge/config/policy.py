"""The ``policy`` section of ROBOT.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.checks import (
    between,
    positive,
)
from wall_edge.config.limits import MAX_MS
from wall_edge.config_loader import Invalid

SchedulerName = Literal["sync", "async", "ensemble", "rollforward", "rtc", "naive"]
"""``naive`` starts a chunk at its first step whenever it arrives: a baseline, for the simulated arm only."""


@dataclass(frozen=True)
class PolicyConfig:
    """The policy process."""

    threads: int = 1
    """Inference threads."""
    integration_steps: int | None = None
    """Flow integration steps; null takes the bundle's."""
    subgoals: bool = True
    """Whether the model words its own subgoals."""
    chunk_period_ms: float = 100.0
    """Time from one observation to the next [ms]."""
    subgoal_period_ms: float = 200.0
    """Pause between two subgoals [ms]."""
    max_chunk_age_ms: float = 1000.0
    """A chunk whose observation is older is refused [ms]."""
    scheduler: SchedulerName = "async"
    """How chunks that take time to compute are joined into one motion (``chunk_schedulers``)."""
    execute_steps: int | None = None
    """``sync``: steps of a chunk that are executed before the next observation; null for half of it."""
    ensemble_decay: float = 0.01
    """``ensemble``: how much faster each newer prediction fades in the average, m of exp(-m·i)."""
    rtc_form: Literal["elementwise", "jacobian"] = "elementwise"
    """``rtc``: guidance as is, or through the expert's Jacobian (a bundle exported with ``--guidance``)."""
    rtc_max_guidance: float = 5.0
    """``rtc``: bound of the guidance weight, the paper's beta."""

    def __post_init__(self) -> None:
        between("threads", self.threads, 1, 256)
        between("integration_steps", self.integration_steps, 1, 1000)
        positive("chunk_period_ms", self.chunk_period_ms, "ms", MAX_MS)
        positive("subgoal_period_ms", self.subgoal_period_ms, "ms", MAX_MS)
        between("execute_steps", self.execute_steps, 2, 1024, "steps")
        between("ensemble_decay", self.ensemble_decay, 0, 100)
        positive("rtc_max_guidance", self.rtc_max_guidance, "", 1000)
        between("max_chunk_age_ms", self.max_chunk_age_ms, 0, MAX_MS, "ms")
        if self.max_chunk_age_ms < self.chunk_period_ms:
            expected = f"at least chunk_period_ms ({self.chunk_period_ms:g})"
            raise Invalid("max_chunk_age_ms", self.max_chunk_age_ms, expected=expected)
