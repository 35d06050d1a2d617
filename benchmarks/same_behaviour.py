"""Whether two checkouts behave alike: ``python benchmarks/same_behaviour.py --before SIDE --after SIDE``.

A side is a checkout, or a file of figures that ``--save FILE`` kept of ``--before``. Each checkout runs its
own code through the public commands, with this interpreter, in a temporary folder.

``goldens``  every golden case through both backends: each output's largest error; token ids are exact.
``verify``   the tabletop policy exported with every recipe, ``auto``, ``--guidance`` and ``--vocabulary``:
             names and SHA-256 of the files, the manifest, ``wall-edge verify``; the session that calibrates;
             ``wall-edge inspect`` and ``wall-edge tune`` of the float32 bundle.
``eval``     ``wall-edge eval``: schedulers, delays, jitter, guidance, a quantised bundle.
``faults``   ``wall-edge eval --fault all``.
``demo``     ``wall-edge demo``: its bundle, and what of its run does not depend on the machine's speed.

Figures are compared exactly, in value and type; what one side alone has is a difference. In ``eval`` and
``faults`` times are compared too: they are virtual, functions of the seed. Not compared: what clock, memory
and installed packages say (``LEFT_OUT``); the bytes of ``manifest.yaml`` and of its digest, as its values are
compared one by one. ``demo`` runs in real time, so of its figures only these are: exit code, episodes,
successes, errors on the bus but for timeouts, refusals, whether every subgoal was right, the names of what
``--json`` prints. Chunks, subgoals, ticks, overruns and late replies are as many as the machine makes: other
programs on its cores made 18 timeouts in 3081 cycles. A success that is missing on a busy machine is no
proof either: run ``--only demo`` again on a quiet one.

Another machine computes other last digits: both sides' machines and versions are printed. Exit code 1 when a
figure differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.behaviour.checkout import Checkout
from benchmarks.behaviour.compare import Difference, Figures, compare
from benchmarks.behaviour.sections import SECTIONS
from wall_edge.machine import facts

Results = Mapping[str, tuple[int, list[Difference]]]


def measure(folder: Path, names: Sequence[str], *, quick: bool) -> Figures:
    """One side: what it is (``about``), and the figures of each section."""
    result: Figures = {"sections": {}}
    with tempfile.TemporaryDirectory(prefix="wall-edge-same-") as work:
        side = Checkout(folder, Path(work), quick=quick)
        result["about"] = {"commit": side.commit(), **facts("onnxruntime", "torch"), "quick": quick}
        for name in names:
            begin = time.monotonic()
            result["sections"][name] = SECTIONS[name](side)
            print(f"{folder}: {name} took {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return result


def figures_of(side: Path, names: Sequence[str], *, quick: bool) -> Figures:
    """Measured in a checkout, or read from a file that was saved."""
    if side.is_dir():
        return measure(side, names, quick=quick)
    result: Figures = json.loads(side.read_text())
    if missing := [name for name in names if name not in result["sections"]]:
        sys.exit(f"{side} has no {', '.join(missing)}; expected the sections of --only; save it again")
    if result["about"]["quick"] is not quick:
        sys.exit(f"{side} was saved {'without' if quick else 'with'} --quick; compare it so")
    return result


def print_table(before: Figures, after: Figures, results: Results) -> None:
    """What the sides are, how many figures differ in each section, and which."""
    for key, value in before.items():
        print(f"{key:9} {value}" if after[key] == value else f"{key:9} {value} -> {after[key]}")
    print(f"\n{'section':9} {'figures':>8} {'differ':>8}")
    for name, (count, differences) in results.items():
        print(f"{name:9} {count:8} {len(differences):8}")
    for name, (_, differences) in results.items():
        for one in differences:
            print(f"{name}.{one.name}: {one.before} -> {one.after}")


def print_json(before: Figures, after: Figures, results: Results) -> None:
    sections = {
        name: {"figures": count, "differences": [asdict(one) for one in differences]}
        for name, (count, differences) in results.items()
    }
    print(json.dumps({"before": before, "after": after, "sections": sections}))


def arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--before", type=Path, required=True, metavar="SIDE")
    parser.add_argument("--after", type=Path, metavar="SIDE", help="may be left out with --save")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the figures of --before here")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer exports, delays and episodes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"--only {','.join(sorted(unknown))}; expected some of {','.join(SECTIONS)}")
    if not (options.after or options.save):
        parser.error("neither --after nor --save; expected a side to compare with, or a file to write")
    return options


def main() -> None:
    options = arguments()
    names = [name for name in SECTIONS if name in options.only]
    before = figures_of(options.before, names, quick=options.quick)
    if options.save:
        options.save.write_text(json.dumps(before, indent=1))
    if not options.after:
        return
    after = figures_of(options.after, names, quick=options.quick)
    results = {name: compare(before["sections"][name], after["sections"][name]) for name in names}
    (print_json if options.json else print_table)(before["about"], after["about"], results)
    sys.exit(any(differences for _, differences in results.values()))


if __name__ == "__main__":
    main()
