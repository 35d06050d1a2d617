"""What every twin offers: the motors' side of a bus, whatever the protocol."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class SimulatedBus(Protocol):
    """Simulated motors behind one wire. Time is passed in (CLOCK_MONOTONIC ns) and never read."""

    @property
    def due_ns(self) -> int | None:
        """When the next reply leaves; None when none waits."""

    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:
        """Bytes from the host, in pieces of any size, at ``baud`` [bit/s] → the replies that leave by now."""

    def collect(self, now_ns: int) -> bytes:
        """Replies that have left by now and were not collected yet."""

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        """[dof] rad, where the joints are at this moment, finer than what the motors report."""

    def set_positions(self, positions: npt.ArrayLike) -> None:
        """Put the joints at ``positions`` [dof] rad, as by hand."""
