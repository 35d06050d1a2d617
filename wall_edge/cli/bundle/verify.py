"""``wall-edge verify``: replay a bundle's goldens on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from wall_edge.bundle import Bundle, Manifest, describe_opinion
from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stage_progress
from wall_edge.verification.comparison import StageCheck
from wall_edge.verification.tolerances import graphs_of
from wall_edge.verification.verify import verify as replay_goldens


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    engine: Annotated[str, typer.Option(help="What runs the graphs.")] = "onnxruntime",
    device: Annotated[str, typer.Option(help="Where: cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Inference threads.", min=1)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Replay the bundle's goldens through an engine, stage by stage; exit code 1 past tolerance."""
    from wall_edge_engines import EngineSettings, load

    settings = EngineSettings(engine, device, threads)
    with stage_progress("verify", ("digests", "engine", "goldens")) as progress:
        progress("digests")
        opened = Bundle(bundle)
        progress("engine")
        loaded = load(opened, settings)
        progress("goldens")
        checks = replay_goldens(opened, loaded)
    good = all(check.ok for check in checks)
    if as_json:
        stages = {check.stage: check.as_dict() for check in checks}
        opinion = opened.manifest.second_opinion
        facts = {
            "recipe": opened.manifest.recipe,
            "engine": loaded.description,
            "second_opinion": asdict(opinion) if opinion else None,
        }
        print(json.dumps({"ok": good, **facts, "stages": stages}))
    else:
        _print(opened.manifest, checks, loaded.description)
        verdict = "every stage within tolerance" if good else "FAILED"
        SafeConsole(soft_wrap=True).print(f"{bundle}: {verdict}")
    if not good:
        raise typer.Exit(1)


def _print(manifest: Manifest, checks: Sequence[StageCheck], engine: str) -> None:
    console = SafeConsole()
    console.print(f"engine: {engine}", soft_wrap=True)
    console.print(_stages(manifest, checks))
    if manifest.losses:
        console.print(_losses(manifest))
    for graph in manifest.graphs:
        stages = [check for check in checks if graphs_of(check.stage, type(manifest.actions)) == (graph,)]
        if stages and manifest.recipe != "fp32":
            worst = max(stages, key=lambda check: check.relative_l2)
            families = ", ".join(f"{name} {p}" for name, p in manifest.graphs[graph].families.items())
            console.print(f"{graph} loses most at {worst.stage}: {worst.relative_l2:.2%} ({families})")
    console.print(f"second opinion: {describe_opinion(manifest.second_opinion)}", soft_wrap=True)


def _stages(manifest: Manifest, checks: Sequence[StageCheck]) -> Table:
    table = Table(title=f"stages, {manifest.recipe}")
    for heading in ("stage", "max abs error", "relative L2", "cosine", "tolerance", ""):
        table.add_column(heading)
    for check in checks:
        allowed = f"{check.measure} {check.tolerance:g}" if check.tolerance else "exact"
        numbers = (f"{check.max_abs:.2e}", f"{check.relative_l2:.2e}", f"{check.cosine:.7f}")
        table.add_row(check.stage, *numbers, allowed, "ok" if check.ok else "FAIL")
    return table


def _losses(manifest: Manifest) -> Table:
    """What each quantised layer family loses in its layers' outputs, as calibration saw it."""
    table = Table(title="layer families: error of the layers' outputs on calibration data")
    for heading in ("graph", "family", "precision", "mean", "worst", "worst layer"):
        table.add_column(heading)
    for loss in manifest.losses:
        numbers = (f"{loss.mean:.2%}", f"{loss.worst:.2%}", loss.worst_layer)
        table.add_row(loss.graph, loss.family, loss.precision, *numbers)
    return table
