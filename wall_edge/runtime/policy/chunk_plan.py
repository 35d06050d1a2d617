"""What a scheduler asks the policy for, and the motion that it publishes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.policies.observation import Guidance


@dataclass(frozen=True)
class Plan:
    """A published motion: ``positions`` [n, dof] in rad, step k due at plan time ``start_ns + k · dt_ns``."""

    start_ns: int
    dt_ns: int
    positions: Floats

    @property
    def end_ns(self) -> int:
        """When the last step is due."""
        return self.start_ns + (len(self.positions) - 1) * self.dt_ns

    def at(self, plan_ns: npt.ArrayLike) -> Floats:
        """Positions [..., dof] at these plan times, linear between steps and constant beyond both ends."""
        steps = np.clip((np.asarray(plan_ns) - self.start_ns) / self.dt_ns, 0, len(self.positions) - 1)
        low = np.minimum(steps.astype(np.int64), max(0, len(self.positions) - 2))
        high = np.minimum(low + 1, len(self.positions) - 1)
        part = (steps - low)[..., None]
        between: Floats = self.positions[low] * (1 - part) + self.positions[high] * part
        return between

    def continued(self, plan_ns: npt.NDArray[np.int64]) -> Floats:
        """As :meth:`at`, but beyond the last step it goes on as it last moved."""
        positions = self.at(plan_ns)
        if len(self.positions) > 1:
            steps = np.maximum(0, (plan_ns - self.end_ns) / self.dt_ns)
            positions += steps[:, None] * (self.positions[-1] - self.positions[-2])
        return positions


@dataclass(frozen=True)
class ChunkRequest:
    """What the policy is to answer: from ``state`` [dof, rad], a chunk that begins at ``plan_start_ns``."""

    state: Floats
    plan_start_ns: int
    guidance: Guidance | None = None
