"""Cycles a second of seven joints of every kind, beside what the line allows: ``bus_rates.py [--json]``.

Four figures of each line (:mod:`wall_edge.bench.bus`):

- its ceiling, by the arithmetic of worst-case stuffing (and the published one, where there is one);
- ``protocol``: the share that the order of requests and replies reaches, with a drive that computes in no
  time;
- ``ratio``: the share that it reaches with the drive's own processor time on this machine, the twin's apart:
  at least 0.9 is asked for;
- ``real time``: with the twin in a process of its own, behind a pseudo-terminal or a socket. On two cores
  this measures the twin, which computes seven motors in Python, and the scheduler.

And of one lost reply, the worst of the seven: cycles that were not whole, joints that were not fresh in it,
and how long it was waited for (``timeout_ms`` is 20).
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from benchmarks.bus.seven_joints import Bus, buses
from wall_edge.bench.bus import BusFigures
from wall_edge.bench.bus.figures import measure_twins
from wall_edge.provenance import provenance

LEAST = 0.9


def measure(each: Bus, seconds: float) -> BusFigures:
    """Real time for ``seconds``, or not at all."""
    return measure_twins(each.settings, each.joints, each.rest, seconds=seconds)


def main() -> int:
    known = buses()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bus", default="", help="only those whose name contains this")
    parser.add_argument("--seconds", type=float, default=2.0, help="in real time, of each; 0: not")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    rows = {}
    for name, each in known.items():
        if given.bus in name:
            rows[name] = measure(each, given.seconds)
            print(_line(name, rows[name], each.published_hz), file=sys.stderr, flush=True)
            time.sleep(0.1)
    if given.json:
        print(json.dumps({"buses": rows, **provenance()}))
        return 0
    print(_HEAD)
    for name, row in rows.items():
        print(_line(name, row, known[name].published_hz))
    print("; ".join(str(fact) for fact in provenance().values()))
    slow = [name for name, row in rows.items() if row["ratio"] < LEAST]
    print(f"below {LEAST:g} of the ceiling: {', '.join(slow) or 'none'}")
    return 0


_HEAD = (
    f"{'seven joints':<26}{'ceiling':>8}{'known':>7}{'cycles/s':>10}{'ratio':>7}{'protocol':>10}"
    f"{'CPU µs':>8}{'real time':>11}{'lost: cycles, joints, ms':>26}"
)


def _line(name: str, row: BusFigures, published_hz: float | None) -> str:
    known = "" if published_hz is None else f"{published_hz:.0f}"
    real = row["two_processes_hz"]
    lost = f"{row['lost_reply_extra_cycles']}, {row['lost_reply_joints']}, {row['lost_reply_ms']:.1f}"
    return (
        f"{name:<26}{row['ceiling_hz']:8.0f}{known:>7}{row['cycles_hz']:10.0f}{row['ratio']:7.3f}"
        f"{row['protocol_ratio']:10.3f}{row['drive_cpu_us']:8.0f}"
        f"{'-' if real is None else f'{real:.0f}':>11}{lost:>26}"
    )


if __name__ == "__main__":
    sys.exit(main())
