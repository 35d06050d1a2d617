"""The last word on every setpoint: position and velocity bounds, whatever the policy says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.errors import ConfigError, RuntimeFault

__all__ = ["Limiter"]

Floats = npt.NDArray[np.float64]


class Limiter:
    """Keeps setpoints [dof, rad] in ``lower`` … ``upper`` and within ``max_velocity · dt`` of the last one.

    ``lower``, ``upper`` in rad, ``max_velocity`` in rad/s (scalar or [dof]), ``dt`` in s: the time of a tick.
    From a start outside the range the setpoint comes back at ``max_velocity`` and never goes further out.
    Raises ConfigError for bounds that no setpoint can meet.
    """

    def __init__(
        self, lower: npt.ArrayLike, upper: npt.ArrayLike, max_velocity: npt.ArrayLike, dt: float
    ) -> None:
        self.lower, self.upper = np.array(lower, np.float64), np.array(upper, np.float64)
        velocity = np.broadcast_to(np.asarray(max_velocity, np.float64), self.lower.shape)
        if self.lower.ndim != 1 or self.lower.shape != self.upper.shape:
            raise ConfigError(
                f"limits of shape {self.lower.shape} and {self.upper.shape}", expected="[dof] both"
            )
        bounds = np.concatenate([self.lower, self.upper, velocity, [dt]])
        if not (
            np.isfinite(bounds).all() and (self.lower < self.upper).all() and (velocity > 0).all() and dt > 0
        ):
            given = f"lower {self.lower}, upper {self.upper}, max_velocity {velocity}, dt {dt}"
            raise ConfigError(given, expected="finite, lower < upper, max_velocity > 0, dt > 0")
        self._step = velocity * dt
        self._previous: Floats | None = None
        self._low, self._high, self._out = (np.empty_like(self.lower) for _ in range(3))
        self.position_hits = np.zeros(self.lower.shape, np.int64)
        """How often the position bound changed a setpoint, by joint."""
        self.velocity_hits = np.zeros(self.lower.shape, np.int64)
        """How often the velocity bound changed a setpoint, by joint."""
        self.refused = 0
        """Setpoints with NaN or infinity, held back as a whole."""

    def reset(self, position: npt.ArrayLike) -> None:
        """Starts from the measured ``position`` [dof, rad], which may lie outside the range."""
        start = np.array(position, np.float64)
        if start.shape != self.lower.shape or not np.isfinite(start).all():
            raise RuntimeFault(f"a start at {start}", expected=f"{self.lower.size} finite angles")
        self._previous = start

    @property
    def previous(self) -> Floats:
        """The last setpoint [dof, rad], not to be written to. Raises RuntimeFault before the first reset."""
        if self._previous is None:
            given = "a setpoint before the arm's position is known"
            raise RuntimeFault(given, expected="reset(position) first")
        return self._previous

    def limit(self, setpoint: Floats) -> Floats:
        """The nearest allowed setpoint [dof, rad], not to be written to and valid until the next call.

        Raises RuntimeFault before the first ``reset``.
        """
        if not np.isfinite(setpoint).all():
            self.refused += 1
            return self.previous
        out, previous = self._out, self.previous
        np.clip(setpoint, self.lower, self.upper, out=out)
        self.position_hits += out != setpoint
        # The velocity bound comes last: between two points in range it cannot leave the range, and from
        # outside it turns what would be a jump to the nearest bound into a walk.
        np.subtract(previous, self._step, out=self._low)
        np.add(previous, self._step, out=self._high)
        self.velocity_hits += (out < self._low) | (out > self._high)
        np.clip(out, self._low, self._high, out=out)
        self._previous, self._out = out, previous
        return out

    def counts(self) -> dict[str, object]:
        """How often each bound acted: lists by joint, and the refused setpoints."""
        return {
            "position": self.position_hits.tolist(),
            "velocity": self.velocity_hits.tolist(),
            "refused": self.refused,
        }
