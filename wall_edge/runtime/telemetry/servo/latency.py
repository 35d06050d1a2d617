"""Times in bounded memory: a histogram."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


class LatencyRecorder:
    """A histogram of non-negative times in bounded memory: bins 2 % wide from 100 ns to 10 s."""

    _FIRST_NS, _RATIO, _BINS = 100.0, 1.02, 931

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(self._BINS, np.int64)
        """[931] times in each bin; the first takes all below 100 ns, the last all above 10 s."""
        self.edges_ns: npt.NDArray[np.float64] = np.geomspace(
            self._FIRST_NS, self._FIRST_NS * self._RATIO ** (self._BINS - 1), self._BINS
        )
        """[931] upper edge of each bin [ns]."""
        self.max_ns = 0
        self.count = 0

    def record(self, value_ns: int) -> None:
        """Adds one time [ns]."""
        self.count += 1
        self.max_ns = max(self.max_ns, value_ns)
        if value_ns <= self._FIRST_NS:
            self.counts[0] += 1
            return
        bin_ = math.ceil(math.log(value_ns / self._FIRST_NS) / _LOG_RATIO)
        self.counts[min(bin_, self._BINS - 1)] += 1

    def percentile(self, percent: float) -> float:
        """Time [ns] that ``percent`` of the them do not exceed, up to 2 % too large; NaN for none."""
        if not self.count:
            return math.nan
        rank = math.ceil(self.count * percent / 100.0)
        bin_ = int(np.searchsorted(np.cumsum(self.counts), max(1, rank)))
        return float(min(self.edges_ns[bin_], self.max_ns)) if bin_ < self._BINS - 1 else float(self.max_ns)

    def summary_us(self) -> dict[str, object]:
        """count, p50, p99, p999, max [µs] (None for no data) and the used part of the histogram."""
        filled = np.flatnonzero(self.counts)
        span = slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0)
        ranks = {"p50": 50.0, "p99": 99.0, "p999": 99.9}
        return {
            "count": self.count,
            **{name: self.percentile(q) / 1e3 if self.count else None for name, q in ranks.items()},
            "max": self.max_ns / 1e3 if self.count else None,
            "histogram": {
                "edges_us": (self.edges_ns[span] / 1e3).tolist(),
                "counts": self.counts[span].tolist(),
            },
        }


_LOG_RATIO = math.log(LatencyRecorder._RATIO)
