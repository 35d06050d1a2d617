"""``wall-edge verify``: replay a bundle's goldens on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from wall_edge.bundle import Bundle
from wall_edge.verify import StageCheck
from wall_edge.verify import verify as replay_goldens

from .output import stage_progress


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    threads: Annotated[int, typer.Option(help="Inference threads.", min=1)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Replay the bundle's goldens through ONNX Runtime; exit code 1 past tolerance."""
    from wall_edge_engines import load

    with stage_progress("verify", ("digests", "engine", "goldens")) as progress:
        progress("digests")
        opened = Bundle(bundle)
        progress("engine")
        engine = load(opened, threads=threads)
        progress("goldens")
        checks = replay_goldens(opened, engine)
    good = all(check.ok for check in checks)
    if as_json:
        print(json.dumps({"ok": good, "stages": {check.stage: check.as_dict() for check in checks}}))
    else:
        Console().print(_table(checks))
        print(f"{bundle}: {'every stage within tolerance' if good else 'FAILED'}")
    if not good:
        raise typer.Exit(1)


def _table(checks: list[StageCheck]) -> Table:
    table = Table()
    for heading in ("stage", "max abs error", "relative L2", "cosine", "tolerance", ""):
        table.add_column(heading)
    for check in checks:
        allowed = f"{check.tolerance:g}" if check.tolerance else "exact"
        numbers = (f"{check.max_abs:.2e}", f"{check.relative_l2:.2e}", f"{check.cosine:.7f}")
        table.add_row(check.stage, *numbers, allowed, "ok" if check.ok else "FAIL")
    return table
