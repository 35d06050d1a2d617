"""Whether two checkouts behave alike: ``python benchmarks/same_behaviour.py --before SIDE --after SIDE``.

A side is a checkout, or a file of figures that ``--save FILE`` kept of ``--before``; saving goes on where it
was interrupted. Each checkout runs its own code through the public commands, with this interpreter, in a
temporary folder.

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

from benchmarks.behaviour.checkout import UNKNOWN, Checkout, SideError
from benchmarks.behaviour.compare import Difference, Figures, compare
from benchmarks.behaviour.sections import SECTIONS
from wall_edge.provenance import provenance

Results = Mapping[str, tuple[int, list[Difference]]]


def measure(side: Path, names: Sequence[str], *, quick: bool, file: Path | None = None) -> Figures:
    """What a checkout is (``about``), and the figures of each section.

    ``file`` has every section as soon as it is measured; what it has of this commit is taken from there. Of
    a section that fails the only figure is its ``error``, which is not kept.
    """
    with tempfile.TemporaryDirectory(prefix="wall-edge-same-") as work:
        checkout = Checkout(side, Path(work), quick=quick)
        about = {"commit": checkout.commit(), **provenance("onnxruntime", "torch"), "quick": quick}
        result = _earlier(file, about) or {"about": about, "sections": {}}
        for name in [name for name in names if name not in result["sections"]]:
            begin = time.monotonic()
            try:
                result["sections"][name] = SECTIONS[name](checkout)
            except (SideError, KeyError, OSError, ValueError) as error:  # or output of another form
                result["sections"][name] = {"error": f"{type(error).__name__}: {error}"}
                print(f"{side}: {name}: {result['sections'][name]['error']}", file=sys.stderr)
            _keep(result, file)
            print(f"{side}: {name} took {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return result


def _earlier(file: Path | None, about: Figures) -> Figures | None:
    """What ``file`` has of the same code on the same machine; of changed code nobody knows."""
    changed = about["commit"] == UNKNOWN or about["commit"].endswith("-dirty")
    if file is None or changed or not file.exists():
        return None
    result: Figures = json.loads(file.read_text())
    return result if {**result["about"], "date": about["date"]} == about else None


def _keep(result: Figures, file: Path | None) -> None:
    if file is not None:
        sections = {name: value for name, value in result["sections"].items() if "error" not in value}
        file.write_text(json.dumps({**result, "sections": sections}, indent=1))


def read(side: Path, names: Sequence[str], *, quick: bool) -> Figures:
    """A side's figures from the file that ``--save`` wrote."""
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


def _side(side: Path, names: Sequence[str], quick: bool, file: Path | None) -> Figures:
    if not side.is_dir():
        return read(side, names, quick=quick)
    return measure(side, names, quick=quick, file=file)


def main() -> None:
    options = arguments()
    names = [name for name in SECTIONS if name in options.only]
    try:
        before = _side(options.before, names, options.quick, options.save)
        if errors := [name for name in names if "error" in before["sections"][name]]:
            sys.exit(f"{options.before}: {', '.join(errors)} failed: nothing to compare with")
        if not options.after:
            return
        after = _side(options.after, names, options.quick, None)
    except SideError as error:
        sys.exit(f"error: {error}")
    results = {name: compare(before["sections"][name], after["sections"][name]) for name in names}
    (print_json if options.json else print_table)(before["about"], after["about"], results)
    sys.exit(any(differences for _, differences in results.values()))


if __name__ == "__main__":
    main()
