"""Many times at once into a :class:`LatencyRecorder`, into the very same bins."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder

MOST_MISSED = 1000
"""As the Ticker: so many ticks of one stall are counted as late."""


def record_many(recorder: LatencyRecorder, values_ns: npt.NDArray[np.int64]) -> None:
    """As ``recorder.record`` for each of ``values_ns`` [n]."""
    if not len(values_ns):
        return
    bins = np.searchsorted(_first_of_next_bin(), values_ns, side="right")
    recorder.counts += np.bincount(bins, minlength=len(recorder.counts))
    recorder.count += len(values_ns)
    recorder.max_ns = max(recorder.max_ns, int(values_ns.max()))


@cache
def _first_of_next_bin() -> npt.NDArray[np.int64]:
    """[930] the smallest whole time [ns] above each bin.

    Found by asking the recorder's own formula: numpy's logarithm may differ from the C library's in the last
    place, which at an edge is the next bin.
    """
    ratio = math.log(LatencyRecorder._RATIO)

    def bin_of(value: int) -> int:
        first = LatencyRecorder._FIRST_NS
        return 0 if value <= first else math.ceil(math.log(value / first) / ratio)

    edges = []
    for number in range(LatencyRecorder._BINS - 1):
        value = int(LatencyRecorder._FIRST_NS * LatencyRecorder._RATIO**number)
        while bin_of(value) > number:
            value -= 1
        while bin_of(value) <= number:
            value += 1
        edges.append(value)
    return np.array(edges, np.int64)


def ticker_lateness(
    lateness_ns: npt.NDArray[np.int64], overrun_ns: npt.NDArray[np.int64], period_ns: int
) -> npt.NDArray[np.int64]:
    """What the Ticker recorded for these ticks [n]: how late they began (-1: no tick), and those left out.

    A tick that never ran was late all the same, as :meth:`Ticker.wait` counts.
    """
    missed = [
        over - np.arange(min(-(-over // period_ns), MOST_MISSED)) * period_ns
        for over in overrun_ns[overrun_ns > 0].tolist()
    ]
    return np.concatenate([lateness_ns[lateness_ns >= 0], *missed]).astype(np.int64)
