"""``wall-edge inspect``: show what is in a bundle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from wall_edge.bundle import Bundle, GraphSpec, Manifest, TensorSpec, describe_opinion
from wall_edge.cli.console import SafeConsole


def inspect(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as one JSON object.")] = False,
) -> None:
    """Show a bundle: its source, robot, cameras and graphs. Every file is checked on the way."""
    opened = Bundle(bundle)
    if as_json:
        print(json.dumps(asdict(opened.manifest)))
        return
    console = SafeConsole()
    console.print(_facts(opened.manifest))
    console.print(_joints(opened.manifest))
    console.print(_graphs(opened))


def _facts(manifest: Manifest) -> Table:
    table = Table(show_header=False, box=None)
    cameras = ", ".join(
        f"{name} {camera.width}x{camera.height} px ({camera.tokens} tokens)"
        for name, camera in manifest.cameras.items()
    )
    seconds = manifest.horizon / manifest.action_rate_hz
    rows = {
        "source": f"{manifest.source.checkpoint} (SHA-256 {manifest.source.sha256[:16]}…)",
        "robot": f"{manifest.embodiment.name}, {manifest.dof} degrees of freedom",
        "cameras": cameras,
        "prompt": f"{manifest.prompt_flavour}, at most {manifest.max_prompt_tokens} tokens",
        "chunk": f"{manifest.horizon} steps at {manifest.action_rate_hz:g} Hz ({seconds:.2f} s), "
        f"relative to: {manifest.embodiment.action_reference}",
        "integration": f"{len(manifest.time_grid) - 1} Euler steps",
        "second opinion": describe_opinion(manifest.second_opinion),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _joints(manifest: Manifest) -> Table:
    embodiment = manifest.embodiment
    table = Table(title=f"degrees of freedom [{embodiment.unit}]")
    for heading in ("name", "lower", "upper", "state offset ± scale", "action offset ± scale"):
        table.add_column(heading)
    for number, name in enumerate(embodiment.dof_names):
        limits = [
            f"{values[number]:.3f}" if values is not None else "-"
            for values in (embodiment.lower, embodiment.upper)
        ]
        scaling = [
            f"{rule.offset[number]:.3f} ± {rule.scale[number]:.3f}"
            for rule in (embodiment.state, embodiment.action)
        ]
        table.add_row(name, *limits, *scaling)
    return table


def _graphs(bundle: Bundle) -> Table:
    table = Table(title="graphs")
    for heading in ("graph", "precision", "MB", "inputs", "outputs"):
        table.add_column(heading)
    for name, spec in bundle.manifest.graphs.items():
        size = sum(bundle.path(name).stat().st_size for name in (spec.file, spec.data)) / 1e6
        table.add_row(name, spec.precision, f"{size:.2f}", *_tensors(spec))
    return table


def _tensors(spec: GraphSpec) -> tuple[str, str]:
    def lines(tensors: dict[str, TensorSpec]) -> str:
        return "\n".join(
            f"{name} {'x'.join(str(axis) for axis in t.shape) or 'scalar'} {t.dtype}"
            for name, t in tensors.items()
        )

    return lines(spec.inputs), lines(spec.outputs)
