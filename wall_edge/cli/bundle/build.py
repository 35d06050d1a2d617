"""``wall-edge build``: a bundle's engines, for TensorRT."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from wall_edge.bundle import Bundle
from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stage_progress, stderr
from wall_edge.files import shown
from wall_edge.signals import interruptible

if TYPE_CHECKING:  # --help needs none of it
    from wall_edge_engines.build.builder import Builder, GraphResult
    from wall_edge_engines.build.targets.selection import Selection


def build(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    target: Annotated[
        str | None, typer.Option(help="The device to build for; without it, the GPU at hand.")
    ] = None,
    compiler: Annotated[
        str | None,
        typer.Option(help="tensorrt (JetPack's own) or tensorrt-rtx; the first that is installed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Build a bundle's engines beside it, graph by graph; a rerun goes on with those that are missing.

    Exit code 1 when a graph fails; what was built stays.
    """
    from wall_edge_engines.build.preparation import prepare
    from wall_edge_engines.build.targets.memory import require_fits
    from wall_edge_engines.build.targets.selection import select

    selection = select(target, compiler)
    with interruptible():
        opened = Bundle(bundle)
        builder, notes = prepare(opened, selection)
        for note in notes:
            stderr.print(f"note: {note}", soft_wrap=True)
        with stage_progress("build", builder.order) as progress:
            results = builder.build(progress)
    if as_json:
        print(json.dumps(_report(builder, selection, results)))
    else:
        _print(opened, builder, selection, results)
    if not all(result.ok for result in results.values()):
        raise typer.Exit(1)
    engines = sum(result.bytes for result in results.values())
    require_fits(opened, selection.target, selection.memory_bytes, engines)


def _report(builder: Builder, selection: Selection, results: dict[str, GraphResult]) -> dict[str, object]:
    return {
        "graphs": {graph: asdict(result) for graph, result in results.items()},
        "compiler": selection.compiler,
        "target": selection.target.name,
        "version": selection.version,
        "folder": str(builder.folder),
    }


def _print(opened: Bundle, builder: Builder, selection: Selection, results: dict[str, GraphResult]) -> None:
    from wall_edge_engines.build.builder import stale_folders

    console = SafeConsole()
    where = "ahead of time" if selection.device is None else f"on {selection.device.name}"
    device = f"{selection.target.name} (SM{selection.target.sm})"
    console.print(f"{device}, {selection.compiler} {selection.version}, {where}", soft_wrap=True)
    table = Table()
    for heading in ("graph", "engine", "time", "peak memory", ""):
        table.add_column(heading)
    for graph, result in results.items():
        verdict = "FAILED" if not result.ok else "built earlier" if result.kept else "ok"
        numbers = (
            f"{result.bytes / 1e6:.1f} MB",
            f"{result.seconds:.1f} s",
            f"{result.peak_bytes / 1e6:.0f} MB",
        )
        table.add_row(graph, *numbers, verdict)
    console.print(table)
    for graph, result in results.items():
        if not result.ok:
            console.print(f"{graph}: {result.reason}", soft_wrap=True)
    for folder, size in stale_folders(opened, builder.folder).items():
        console.print(f"also there, {size / 1e6:.0f} MB: {shown(folder)}", soft_wrap=True)
    failed = [graph for graph, result in results.items() if not result.ok]
    done = "all engines are built" if not failed else f"FAILED: {', '.join(failed)}; the others stay"
    SafeConsole(soft_wrap=True).print(f"{shown(builder.folder)}: {done}")
