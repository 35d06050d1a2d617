"""A trace of an arm, sample by sample: a plain reference for the one that readers keep."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


class Trace:
    """The last ``capacity`` samples: at most ``rate_hz`` a second of a loop that ticks at ``tick_hz``."""

    def __init__(self, dof: int, tick_hz: float, rate_hz: float = 50.0, capacity: int = 15_000) -> None:
        self.every = max(1, math.ceil(tick_hz / rate_hz))
        """Ticks from one sample to the next."""
        self._rows = np.zeros(
            capacity,
            [
                ("time_ns", np.int64),
                ("state", np.int64),
                ("epoch", np.int64),
                ("chunk_index", np.int64),
                ("chunk_observation_ns", np.int64),
                ("setpoint", np.float64, (dof,)),
                ("position", np.float64, (dof,)),
            ],
        )
        self._count = 0

    def add(
        self,
        time_ns: int,
        state: int,
        epoch: int,
        chunk: tuple[int, int],
        setpoint: npt.NDArray[np.float64],
        position: npt.NDArray[np.float64],
    ) -> None:
        """One sample; ``chunk`` is (index, observation time [ns]); overwrites the oldest when full."""
        row = self._rows[self._count % len(self._rows)]
        row["time_ns"], row["state"], row["epoch"] = time_ns, state, epoch
        row["chunk_index"], row["chunk_observation_ns"] = chunk
        row["setpoint"], row["position"] = setpoint, position
        self._count += 1

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Field → array, oldest first: times [ns], numbers [n]; ``setpoint``, ``position`` [n, dof] rad."""
        start = self._count % len(self._rows) if self._count > len(self._rows) else 0
        rows = np.roll(self._rows[: self._count], -start)
        return {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}
