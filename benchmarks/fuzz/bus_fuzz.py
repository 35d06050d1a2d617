"""Fuzz everything that reads a bus: ``bus_fuzz.py --cases 10000000``.

Three sorts of targets (``--target`` takes part of a name):

- ``parser …``: byte streams of valid packets, damaged, cut and mixed, and random bytes. A case is one stream.
- ``payload …``: the data of CAN frames, random or damaged. A case is one frame.
- ``drive …``, ``liar …``, ``twin …``: drives with their twins in virtual time on a noisy line; the same with
  frames that lie; twins under random requests. A case is one disturbed word, or one request.

A finding is any exception but a WallEdgeError of one line, a hang, a packet that was believed although its
bytes and a right checksum are not in the stream, a position that was never true, a line that is clear again
and a drive that does not come back. What a checksum lets through is counted and bounded: 1/256 of the damaged
packets of Feetech, 1/65536 of Dynamixel; slcan, candump and Damiao's USB bridge have none. CAN has its CRC in
hardware: a frame that keeps its identifier and length is data. Exit code 1 on findings.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.fuzz.bus_drives import LINES, Scene, requests
from benchmarks.fuzz.bus_noise import damaged
from benchmarks.fuzz.bus_parsers import PARSERS, Parser
from benchmarks.fuzz.bus_payloads import PAYLOADS, Payload
from wall_edge.errors import WallEdgeError
from wall_edge.provenance import provenance

BATCH = 500
"""Cases that share a seed."""
HANG_S = 30.0
"""Of processor time."""
Report = Counter[str]
Target = Callable[[random.Random, Report], int]
"""One batch: how many cases it was; raises what it finds, in a case of its own."""


class Hang(Exception):
    """A batch that does not end."""


def _parser(parser: Parser) -> Target:
    def run(rng: random.Random, report: Report) -> int:
        for _ in range(BATCH):
            sent = [parser.packet(rng) for _ in range(rng.randint(1, 4) if parser.stream else 1)]
            how = rng.random()
            packets = [damaged(rng, each) if rng.random() < 0.5 else each for each in sent]
            if how < 0.1:
                packets = [rng.randbytes(rng.randint(0, 60))]
            elif how < 0.2 and parser.stream:
                packets = [damaged(rng, b"".join(sent))]
            believed, false = parser.judge(b"".join(packets), sent, rng)
            report["believed"] += believed
            report["false"] += false
        return BATCH

    return run


def _payload(payload: Payload) -> Target:
    def run(rng: random.Random, report: Report) -> int:
        for _ in range(BATCH):
            length = (
                rng.choice(payload.lengths) if payload.lengths else rng.choice((8, 8, rng.randint(0, 64)))
            )
            data = rng.randbytes(length)
            if rng.random() < 0.3:  # small numbers, which mean something more often
                data = bytes(byte & rng.choice((0, 1, 0x0F, 0xFF)) for byte in data)
            report["believed"] += payload.read(data, rng)
        return BATCH

    return run


def _drive(name: str, lies: bool) -> Target:
    def run(rng: random.Random, report: Report) -> int:
        scene = Scene(name, rng, lies, report)
        scene.run()
        return scene.wire.disturbed

    return run


def _twin(name: str) -> Target:
    def run(rng: random.Random, report: Report) -> int:
        requests(name, rng, report)
        return 200

    return run


def targets() -> dict[str, tuple[int, Target]]:
    """By name, with its share of the cases."""
    known: dict[str, tuple[int, Target]] = {}
    for parser in PARSERS:
        known[f"parser {parser.name}"] = (parser.share * 100, _parser(parser))
    for payload in PAYLOADS:
        known[f"payload {payload.name}"] = (payload.share * 150, _payload(payload))
    for name in LINES:
        known[f"drive {name}"] = (12, _drive(name, False))
        known[f"liar {name}"] = (6, _drive(name, True))
        known[f"twin {name}"] = (12, _twin(name))
    return known


def fuzz(name: str, target: Target, seed: int, first: int, cases: int) -> dict[str, Any]:
    """Batches from ``first`` on until so many cases are done. Findings by place, with their batches."""
    report: Report = Counter()
    findings: dict[str, list[int]] = {}
    done, batch, began = 0, first, time.monotonic()
    while done < cases:
        rng = random.Random(f"{name} {seed} {batch}")
        before = signal.signal(signal.SIGVTALRM, _hang)
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
        try:
            done += target(rng, report)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            findings.setdefault(_named(error), []).append(batch)
            done += 1
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        batch += 1
    for excess in _excess(name, report):
        findings.setdefault(excess, []).append(first)
    return {
        "cases": done,
        "batches": batch - first,
        "seconds": round(time.monotonic() - began, 1),
        "counts": dict(report),
        "findings": findings,
    }


def _excess(name: str, report: Report) -> list[str]:
    """False positions beyond what the checksum of the line lets through."""
    if not name.startswith("drive "):
        return []
    share = LINES[name.removeprefix("drive ")].let_through
    most = 3 * share * report["checksum errors"] + (2 if share else 0)
    return (
        [f"{report['false']} false positions believed, {most:.1f} allowed"] if report["false"] > most else []
    )


def _named(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/wall_edge" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    what = "a refusal that ended a clear line" if isinstance(error, WallEdgeError) else type(error).__name__
    return f"{what} at {place}: {str(error)[:150]}"


def _hang(_: int, __: FrameType | None) -> None:
    raise Hang(f"more than {HANG_S:g} s")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="", help="only those whose name contains this")
    parser.add_argument("--cases", type=int, default=100_000, help="over all targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=0, help="the first batch")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    chosen = {name: each for name, each in targets().items() if given.target in name}
    shares = sum(share for share, _ in chosen.values())
    reports = {}
    for name, (share, target) in chosen.items():
        cases = max(1, given.cases * share // shares)
        report = reports[name] = fuzz(name, target, given.seed, given.batch, cases)
        counts = ", ".join(f"{value} {what}" for what, value in sorted(report["counts"].items()))
        print(f"{name:<24}{report['cases']:>9} cases {report['seconds']:7.1f} s  {counts}", file=sys.stderr)
        for what, batches in report["findings"].items():
            again = f'--target "{name}" --seed {given.seed} --batch {batches[0]} --cases 1'
            print(f"    {len(batches)} x {what}; {again}", file=sys.stderr, flush=True)
    return _summary(reports, given.seed, given.json)


def _summary(reports: dict[str, dict[str, Any]], seed: int, as_json: bool) -> int:
    cases = sum(report["cases"] for report in reports.values())
    findings = sum(len(batches) for report in reports.values() for batches in report["findings"].values())
    facts = provenance()
    if as_json:
        print(json.dumps({"seed": seed, "cases": cases, "findings": findings, "targets": reports, **facts}))
    else:
        print(f"{cases} cases, seed {seed}: {findings} findings")
        print("; ".join(str(fact) for fact in facts.values()))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
