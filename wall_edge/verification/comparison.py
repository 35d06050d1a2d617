"""The errors of one stage against its golden."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wall_edge.array_types import Array
from wall_edge.arrays import relative_l2
from wall_edge.bundle import Tolerance


@dataclass(frozen=True)
class StageCheck:
    """One stage against its golden; ``tolerance`` bounds the error called ``measure``."""

    stage: str
    cosine: float
    relative_l2: float
    max_abs: float
    measure: str
    tolerance: float

    @property
    def ok(self) -> bool:
        return bool(getattr(self, self.measure) <= self.tolerance)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: what cannot be compared has null errors."""
        numbers = asdict(self)
        for name in ("cosine", "relative_l2", "max_abs"):
            numbers[name] = numbers[name] if np.isfinite(numbers[name]) else None
        return {**numbers, "ok": self.ok}


def compare(stage: str, actual: Array, golden: Array, tolerance: Tolerance) -> StageCheck:
    """Errors of one stage; a wrong shape or a value that is not finite counts as infinitely wrong."""
    if actual.shape != golden.shape or not np.all(np.isfinite(actual)):
        infinite = float("inf")
        return StageCheck(stage, 0.0, infinite, infinite, tolerance.measure, tolerance.limit)
    a, b = actual.astype(np.float64).ravel(), golden.astype(np.float64).ravel()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return StageCheck(
        stage=stage,
        cosine=float(a @ b / scale) if scale else float(np.array_equal(a, b)),
        relative_l2=relative_l2(a, b),
        max_abs=float(np.abs(a - b).max(initial=0.0)),
        measure=tolerance.measure,
        tolerance=tolerance.limit,
    )
