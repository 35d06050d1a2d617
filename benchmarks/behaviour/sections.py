"""What is measured of a checkout, section by section (``same_behaviour.py`` says what and why)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from benchmarks.behaviour.checkout import TABLETOP, VARIANTS, Checkout, SideError
from benchmarks.behaviour.compare import Figures, flat

GOLDENS = ("wall_edge_export.reference.goldens", "wall_edge_export.golden")
"""Where the golden command may be, the newest place first."""
DRIFTING, STILL = TABLETOP / "drifting.yaml", TABLETOP / "robot.yaml"
QUICK_EXPORTS = ("fp32", "int8-int4")
BUS = ("checksum_errors", "resyncs", "skipped_bytes", "foreign")
"""Errors on the bus that a busy machine does not make; it makes replies late, which are timeouts first."""


def goldens(side: Checkout) -> Figures:
    """Backend → case → output → its largest error."""
    export = side.folder / "export"
    places = [module for module in GOLDENS if (export / f"{module.replace('.', '/')}.py").exists()]
    cases = sorted(path.parent for path in (side.folder / "tests").rglob("cases/*/case.npz"))
    if not places or not cases:
        raise SideError(f"{side.folder}: no {' or '.join(GOLDENS)}, or no tests/…/cases/*/case.npz")
    result: Figures = {}
    for backend in ("reference", "onnxruntime"):
        result[backend] = side.figures(places[0], *cases, "--backend", backend)
        by_folder = result[backend]["printed"].pop("cases")
        result[backend]["cases"] = {Path(folder).name: case for folder, case in by_folder.items()}
    return result


def verify(side: Checkout) -> Figures:
    """Of every export, what it wrote and how far it is from the reference."""
    names = QUICK_EXPORTS if side.quick else (*side.recipes(), *VARIANTS)
    result: Figures = {"session": _digests(side.session), "recipes": side.recipes()}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        result |= zip(names, pool.map(lambda name: _one_bundle(side, name), names), strict=True)
    result["inspect"] = side.wall_edge("inspect", side.bundle("fp32"))
    result["tune"] = side.wall_edge("tune", side.bundle("fp32"), "--data", side.session)
    return result


def _one_bundle(side: Checkout, name: str) -> Figures:
    folder = side.bundle(name)
    export = json.loads(folder.with_suffix(".json").read_text())
    export["times"] = {key: export["printed"].pop(key) for key in ("seconds", "peak_rss_bytes")}
    return {"export": export, **_contents(folder), "verify": side.wall_edge("verify", folder)}


def _contents(folder: Path) -> Figures:
    """A bundle's files with their digests, and its manifest, value by value."""
    files = _digests(folder)
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    agree = all(files.get(name) == digest for name, digest in manifest.pop("files").items())
    files |= {name: "there" for name in files if name.startswith("manifest.")}
    return {"files": files, "digests_agree": agree, "manifest": manifest}


def _digests(folder: Path) -> dict[str, str]:
    """File name → SHA-256."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def evaluation(side: Checkout) -> Figures:
    """Every row of the tables that ``wall-edge eval`` prints in virtual time."""
    few, bundle = ("--episodes", 2 if side.quick else 6), ("--bundle", side.bundle("fp32"))
    delays = ("--delay-ms", "0,300" if side.quick else "0,100,300")
    jitter = ("--delay-ms", 100, "--jitter-ms", 50, "--subgoal-delay-ms", 400)
    runs: dict[str, Sequence[object]] = {
        "drifting": (DRIFTING, "--scheduler", "all", *delays, *few, *bundle),
        "jitter": (DRIFTING, "--scheduler", "async,rtc", *jitter, *few, *bundle),
        "int8-int4": (DRIFTING, "--bundle", side.bundle("int8-int4"), *few),
    }
    if not side.quick:
        rtc = ("--scheduler", "rtc", "--rtc-form", "jacobian", "--bundle", side.bundle("guidance"))
        runs["jacobian"] = (DRIFTING, *rtc, *delays, *few)
        runs["seed 7"] = (STILL, "--scheduler", "all", "--seed", 7, "--episodes", 2, *bundle)
    return {name: _table(side, *arguments) for name, arguments in runs.items()}


def faults(side: Checkout) -> Figures:
    """What each fault ends in and when it is noticed, in virtual time."""
    options = ("--fault", "all", "--delay-ms", 100, "--bundle", side.bundle("fp32"))
    result = {"robot": _table(side, STILL, *options, "--episodes", 1 if side.quick else 3)}
    if not side.quick:
        result["drifting, rtc"] = _table(side, DRIFTING, *options, "--scheduler", "rtc", "--episodes", 1)
    return result


def _table(side: Checkout, *arguments: object) -> Figures:
    """Rows by name, so that their order does not matter."""
    table = side.wall_edge("eval", *arguments)
    rows = table.pop("printed")
    return table | {f"{r['scheduler']} {r['delay_ms']:g} ms {r['fault'] or ''}".strip(): r for r in rows}


def demo(side: Checkout) -> Figures:
    """What of a run in real time does not depend on the machine's speed."""
    out, episodes = side.work / "demo", 4 if side.quick else 20
    run = side.wall_edge("demo", "--episodes", episodes, "--out", out, "--min-success", 0)
    summary = run.pop("printed")
    subgoals, bus = summary["subgoals"], summary["bus"]
    return run | {
        "episodes": summary["episodes"],
        "successes": summary["successes"],
        "bus": {name: bus["detail"][name] for name in BUS},
        "bus_errors_not_late": bus["errors"] - bus["detail"]["timeouts"],
        "refused": summary["policy"]["refused"],
        "every_subgoal_right": subgoals["judged"] == subgoals["correct"],
        "printed": dict.fromkeys((name for name, _ in flat(summary)), "there"),
        "bundle": _contents(out / "bundle"),
        "times": summary,
    }


SECTIONS: dict[str, Callable[[Checkout], Figures]] = {
    "goldens": goldens,
    "verify": verify,
    "eval": evaluation,
    "faults": faults,
    "demo": demo,
}
"""In the order in which they run: what is about real time last, on a machine that is warm."""
