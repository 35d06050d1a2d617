"""Whether a policy's engines can be built and run in a device's memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wall_edge_engines.build.targets.memory import (
    SYSTEM_BYTES,
    RunEstimate,
    build_peak,
    build_peak_words,
    gigabytes,
    run_estimate,
    run_shortage,
)
from wall_edge_engines.build.targets.sizes import PolicySizes
from wall_edge_engines.build.targets.target import Target


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes; ``refusal`` has the arithmetic of what does not fit and is empty where everything does."""

    run: RunEstimate
    build: int
    build_graph: str
    """The graph whose compiler holds the most."""
    device: int | None
    """None where nobody knows it."""
    refusal: str
    runs: bool
    """Whether the engines fit, however they were built."""

    @property
    def fits(self) -> bool:
        return not self.refusal


def plan_memory(
    sizes: PolicySizes, target: Target, memory_bytes: int | None, swap_bytes: int = 0
) -> MemoryPlan:
    """Weigh a policy against ``memory_bytes`` (none: of no device).

    Building is judged where it happens in the same memory, as on a Jetson: there a compiler's copies of the
    weights may be swapped out, what CUDA allocates to run may not.
    """
    graph, build = build_peak(sizes)
    run = run_shortage(sizes, target, memory_bytes)
    compiled = target.integrated and target.sm is not None and memory_bytes is not None
    build_short = _build_shortage(sizes, memory_bytes, swap_bytes, would_run=not run) if compiled else ""
    return MemoryPlan(
        run=run_estimate(sizes, target),
        build=build,
        build_graph=graph,
        device=memory_bytes,
        refusal="; ".join(filter(None, (run, build_short))),
        runs=not run,
    )


def _build_shortage(sizes: PolicySizes, memory_bytes: int | None, swap_bytes: int, *, would_run: bool) -> str:
    """``would_run``: then swap for the build is all that is missing."""
    available = max(0, (memory_bytes or 0) - SYSTEM_BYTES) + swap_bytes
    missing = build_peak(sizes)[1] - available
    if missing <= 0:
        return ""
    swap = f"--swap-gib {math.ceil((missing + swap_bytes) / (1 << 30))}"
    hint = f" ({gigabytes(missing)} of swap for the build would do: {swap})" if would_run else ""
    return f"{build_peak_words(sizes)}, more than the {gigabytes(available)} beside the system{hint}"
