"""Twenty joints on three buses at 500 Hz through the real servo loop: ``twenty_joints.py --ticks 2000``.

A tick lasts from its begin to its end, the waiting for replies in it. Lines take their time with worst-case
stuffing, the loop and its drives the processor time of their thread; twins, supervisor, policy and kernel
take none (``servo_scene.py``): a Python twin needs 0.1 to 0.2 ms a joint and tick, twenty of them more than
the period has. So a tick is the loop's decision, the longest line, and what is left to compute when its last
reply is there. Half of 2 ms can be kept where no line is longer than about 0.75 ms: six motors on CAN FD take
0.68, seven 0.80, six Feetech at 1 Mbaud 0.88, seven moteus 1.5, and seven motors on classic CAN 1.9 and more:
those are for 250 Hz.

Then one bus after the other goes silent: how much longer the ticks get (a bus may have its ``timeout_ms``,
1.5 here), and whether the joints of the other two are fresh in each of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from benchmarks.bus.servo_scene import Part, ServoScene, robot
from wall_edge.provenance import provenance

RATE_HZ = 500.0
SILENT_TICKS = 20
"""Less than ``control.watchdog_periods``, after which motors that hear nothing stop by themselves."""
_FD: dict[str, Any] = {"data_bitrate": 5_000_000}
_FAST: dict[str, Any] = {"baudrate": 3_000_000, "fast": True}
_3M: dict[str, Any] = {"baudrate": 3_000_000}
ROBOTS: dict[str, tuple[Part, ...]] = {
    "6 Damiao FD, 7 + 7 Dynamixel 3 Mbaud fast": (
        ("damiao", 6, _FD),
        ("dynamixel", 7, _FAST),
        ("dynamixel", 7, _FAST),
    ),
    "6 Damiao FD, 7 + 7 Dynamixel 3 Mbaud": (
        ("damiao", 6, _FD),
        ("dynamixel", 7, _3M),
        ("dynamixel", 7, _3M),
    ),
    "7 + 7 Damiao FD, 6 Dynamixel 3 Mbaud": (("damiao", 7, _FD), ("damiao", 7, _FD), ("dynamixel", 6, _3M)),
}


def measure(parts: tuple[Part, ...], ticks: int, rate_hz: float = RATE_HZ) -> dict[str, Any]:
    """Of one robot that follows chunks. Raises WallEdgeError."""
    scene = ServoScene(robot(parts, rate_hz))
    scene.start()
    started = vars(scene.group.counters).copy()
    scene.run(ticks)
    loop, period_us = scene.loop, 1e6 / rate_hz
    tick_us, cpu_us = np.array(scene.durations_ns) / 1e3, np.array(scene.cpu_ns) / 1e3
    errors = ("timeouts", "checksum_errors", "resyncs", "late", "foreign", "full")
    found = {
        "tick_us_p50": float(np.median(tick_us)),
        "tick_us_p99": float(np.percentile(tick_us, 99)),
        "share_p50": float(np.median(tick_us)) / period_us,
        "cpu_us_p50": float(np.median(cpu_us)),
        "line_us": {name: round(ns / 1e3) for name, ns in scene.line_ns.items()},
        "ticks": ticks,
        "starved": loop.pilot.starved_ticks,
        "overruns": loop.ticker.overruns,
        "bus_errors": sum(getattr(scene.group.counters, each) - started[each] for each in errors),
    }
    loop.finish()
    return found


def stall(parts: tuple[Part, ...], name: str, rate_hz: float = RATE_HZ) -> dict[str, Any]:
    """What the silence of bus ``name`` does to the ticks and to the joints of the others."""
    scene = ServoScene(robot(parts, rate_hz))
    scene.start()
    scene.run(100)
    usual_ns = float(np.median(scene.durations_ns))
    config, twin = scene.config, scene.twins[name]
    others = np.array([joint.drive != name for joint in config.joints])
    for index in range(len(twin.joints)):
        twin.silence(index)
    ages = []
    scene.durations_ns = []
    for _ in range(SILENT_TICKS):
        scene.tick()
        ages.append(scene.begin_ns - scene.loop.joints.readings.arrived_ns[others].min())
    silent_ns = np.array(scene.durations_ns)
    for index in range(len(twin.joints)):
        twin.silence(index, False)
    whole = [scene.tick_whole() for _ in range(SILENT_TICKS)]
    scene.loop.finish()
    return {
        "timeout_ms": config.drives[name].timeout_ms,
        "added_ms_p50": (float(np.median(silent_ns)) - usual_ns) / 1e6,
        "added_ms_most": (float(silent_ns.max()) - usual_ns) / 1e6,
        "others_fresh": int((np.array(ages) <= 0).sum()),
        "silent_ticks": SILENT_TICKS,
        "whole_again_after": whole.index(True) if True in whole else None,
        "state": scene.loop.state.name,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=2000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    rows = {name: measure(parts, given.ticks) for name, parts in ROBOTS.items()}
    first = next(iter(ROBOTS.values()))
    stalls = {f"bus{k} ({kind})": stall(first, f"bus{k}") for k, (kind, _, _) in enumerate(first)}
    if given.json:
        print(json.dumps({"robots": rows, "stalls": stalls, **provenance()}))
        return 0
    print(f"twenty joints, {RATE_HZ:g} Hz, {given.ticks} ticks")
    for name, row in rows.items():
        print(
            f"{name:<44} tick p50 {row['tick_us_p50']:5.0f} µs = {row['share_p50']:.1%} of the period, "
            f"p99 {row['tick_us_p99']:5.0f} µs; processor {row['cpu_us_p50']:.0f} µs, lines "
            f"{', '.join(map(str, row['line_us'].values()))} µs; {row['starved']} starved, "
            f"{row['overruns']} overruns, {row['bus_errors']} bus errors"
        )
    for name, row in stalls.items():
        print(
            f"{name} silent: ticks {row['added_ms_p50']:.2f} ms longer (most {row['added_ms_most']:.2f}, its "
            f"timeout is {row['timeout_ms']:g}); the other joints fresh in {row['others_fresh']} of "
            f"{row['silent_ticks']} ticks; all fresh again after {row['whole_again_after']} ticks; "
            f"{row['state']}"
        )
    print("; ".join(str(fact) for fact in provenance().values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
