"""What the arm was told and what it did: the newest samples of the statuses, for the report."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_ROUNDED = 1e-4  # a period is a whole number of nanoseconds
_FIELDS = ("time_ns", "state", "epoch", "chunk_index", "chunk_observation_ns", "setpoint", "position")


class ServoTrace:
    """The last ``capacity`` samples: of the ticks, at most ``rate_hz`` a second, at equal distances."""

    def __init__(self, dtype: np.dtype[Any], rate_hz: float = 50.0, capacity: int = 15_000) -> None:
        self._rate_hz = rate_hz
        self._rows = np.zeros(capacity, [(name, dtype[name]) for name in _FIELDS])
        self._count = 0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Keeps what is due of ``rows`` [n], statuses of one period; overwrites the oldest when full."""
        every = max(1, math.ceil(1e9 / float(rows["period_ns"][-1]) / self._rate_hz - _ROUNDED))
        due = rows[rows["tick"] % every == 0][-len(self._rows) :]
        places = np.arange(self._count, self._count + len(due)) % len(self._rows)
        for name in _FIELDS:
            self._rows[name][places] = due[name]
        self._count += len(due)

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Field → array, oldest first: times [ns], numbers [n]; ``setpoint``, ``position`` [n, dof] rad."""
        start = self._count % len(self._rows) if self._count > len(self._rows) else 0
        rows = np.roll(self._rows[: self._count], -start)
        return {name: np.ascontiguousarray(rows[name]) for name in _FIELDS}
