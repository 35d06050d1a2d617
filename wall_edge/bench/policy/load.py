"""What other programs did meanwhile: figures taken beside them are nobody's."""

from __future__ import annotations

import os
import time
from pathlib import Path

BUSY_CORES = 0.2
"""Load by other programs above which figures are not comparable."""


class OtherLoad:
    """How many cores other programs keep busy: ``/proc/stat`` less what this process uses itself."""

    def __init__(self) -> None:
        self._begun, self._busy, self._own = time.monotonic(), _busy_s(), time.process_time()

    @property
    def seconds(self) -> float:
        """Since the start. The kernel counts in hundredths: under a second the mean says little."""
        return time.monotonic() - self._begun

    def cores(self, peer_s: float = 0.0) -> float:
        """The mean since the start; ``peer_s``: processor time [s] of a process that belongs to it too."""
        others = _busy_s() - self._busy - (time.process_time() - self._own) - peer_s
        return max(0.0, round(others / self.seconds, 2))


def _busy_s() -> float:
    """Processor time that is neither idle nor waiting for a disk (proc(5): user, nice, system, irq…steal)."""
    user, nice, system, _, _, *interrupts_and_steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts_and_steal))) / os.sysconf("SC_CLK_TCK")
