"""Workloads and targets with round numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wall_edge_engines.build.targets.target import Ceiling, Target, named_target
from wall_edge_engines.plan.workload import Arithmetic, Use, Workload

GB = 1_000_000_000
NOBODY = Ceiling(None, "nobody looked", (), "nobody measured")


def use(size: int, **operations: int) -> Use:
    """A use of ``size`` bytes, of which a tenth is traffic."""
    counts: Mapping[Arithmetic, int] = operations  # type: ignore[assignment]
    return Use(size - size // 10, size // 10, counts)


def workload(recipe: str = "bf16", **changes: object) -> Workload:
    """About wall-oss-flow's size, in round numbers."""
    plain = Workload(
        recipe=recipe,
        prompt_tokens=250,
        cameras=3,
        uses={
            "vision": use(GB, bf16=1000 * GB),
            "prefix": use(5 * GB, bf16=1400 * GB),
            "expert": use(2 * GB, bf16=50 * GB),
            "word": use(5 * GB, bf16=5 * GB),
            "lm_head": use(GB, bf16=GB),
        },
        stored_bytes={"vision": GB, "prefix": 6 * GB, "expert": 2 * GB, "lm_head": GB},
        cache_token_bytes=100_000,
        hidden=2048,
        activation_bytes=2,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def device(**changes: object) -> Target:
    """A GPU of 100 GB/s and 10 TFLOPS, of which a half to all was measured."""
    plain = replace(
        named_target("orin-agx-64"),
        name="round",
        bandwidth_gb_s=Ceiling(100.0, "data sheet", (50.0, 80.0), "measured"),
        fp32_tflops=Ceiling(1.0, "data sheet", (0.5, 0.8), "measured"),
        bf16_tflops=Ceiling(10.0, "data sheet", (5.0, 8.0), "measured"),
        int8_tops=Ceiling(20.0, "data sheet", (4.0, 10.0), "measured"),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]
