"""The ``policy`` section of ROBOT.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wall_edge.checks import between, positive, require_device
from wall_edge.config.limits import MAX_MS
from wall_edge.config.scheduler import AsyncScheduler, SchedulerConfig
from wall_edge.config_loader import Invalid


@dataclass(frozen=True)
class PolicyConfig:
    """The policy process."""

    engine: Literal["onnxruntime", "tensorrt", "tensorrt-rtx"] = "onnxruntime"
    """What runs the bundle's graphs (``wall_edge_engines.ENGINES``)."""
    device: str = "cpu"
    """Where it runs: ``cpu``, ``cuda`` or ``cuda:N``."""
    threads: int = 1
    """Inference threads, on a CPU."""
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
    unreachable: Literal["nearest", "hold"] = "nearest"
    """What becomes of poses that the arm cannot reach: the nearest that it can, or the last that it could."""
    scheduler: SchedulerConfig = field(default_factory=AsyncScheduler)
    """How chunks that take time to compute are joined into one motion: ``{kind: …}`` with its settings."""

    def __post_init__(self) -> None:
        require_device("device", self.device)
        between("threads", self.threads, 1, 256)
        between("integration_steps", self.integration_steps, 1, 1000)
        positive("chunk_period_ms", self.chunk_period_ms, "ms", MAX_MS)
        positive("subgoal_period_ms", self.subgoal_period_ms, "ms", MAX_MS)
        between("max_chunk_age_ms", self.max_chunk_age_ms, 0, MAX_MS, "ms")
        if self.max_chunk_age_ms < self.chunk_period_ms:
            expected = f"at least chunk_period_ms ({self.chunk_period_ms:g})"
            raise Invalid("max_chunk_age_ms", self.max_chunk_age_ms, expected=expected)
