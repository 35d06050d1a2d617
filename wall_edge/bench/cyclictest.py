"""What ``cyclictest -q -h`` prints (rt-tests, the kernel developers' measure of wake-up latency)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from wall_edge.errors import RuntimeFault

_BIN = re.compile(r"^(\d+)((?:[ \t]+\d+)+)[ \t]*$", re.MULTILINE)
_OVERFLOWS = re.compile(r"^# Histogram Overflows:((?:[ \t]+\d+)+)", re.MULTILINE)
_MAXIMA = re.compile(r"^# Max Latencies:((?:[ \t]+\d+)+)", re.MULTILINE)


def parse_histogram(text: str) -> dict[int, int]:
    """Latency [µs] → how many wake-ups, of all threads. Raises RuntimeFault when there is none.

    Of those beyond the histogram one was the longest; the others count as at its end, the least they were.
    """
    counts: Counter[int] = Counter()
    end = 0
    for line in _BIN.finditer(text):
        end = int(line[1]) + 1
        counts[end - 1] += sum(map(int, line[2].split()))
    overflows, maxima = _OVERFLOWS.search(text), _MAXIMA.search(text)
    if overflows is not None and maxima is not None and (beyond := sum(map(int, overflows[1].split()))):
        counts[max(map(int, maxima[1].split()))] += 1
        counts[end] += beyond - 1
    counts = +counts  # without the empty bins
    if not counts:
        raise RuntimeFault(
            f"cyclictest printed no histogram: {text.strip()[:200]!r}",
            expected="the output of cyclictest -q -h",
            fix="run it by hand",
        )
    return dict(counts)


def missed_wakeups_added(counts: Mapping[int, int], period_us: int) -> dict[int, int]:
    """With a wake-up for every period of the grid, as our own Ticker counts.

    cyclictest leaves out the wake-ups whose time passed while it was late: a stall of 20 ms at a period of
    2 ms is one sample, though ten wake-ups came late (coordinated omission). Each was a period less late
    than the one before.
    """
    complete: Counter[int] = Counter()
    for latency, number in counts.items():
        complete[latency] += number
        for late in range(latency - period_us, 0, -period_us):
            complete[late] += number
    return dict(complete)


def percentile_us(counts: Mapping[int, int], percent: float) -> float:
    """Latency [µs] that ``percent`` of the wake-ups do not exceed (nearest rank)."""
    rank, counted = math.ceil(sum(counts.values()) * percent / 100.0), 0
    for latency in sorted(counts):
        counted += counts[latency]
        if counted >= rank:
            break
    return float(latency)
