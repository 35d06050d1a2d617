"""``wall-edge inspect``: show what is in a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from wall_edge.bundle import Bundle, Degree, GraphSpec, Layout, Manifest, Pose, TensorSpec, describe_opinion
from wall_edge.cli.bundle.facts import policy_facts, slot_facts
from wall_edge.cli.console import SafeConsole
from wall_edge.errors import plural


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
    embodiment = opened.manifest.embodiment
    console.print(_degrees("state", embodiment.state))
    console.print(_degrees("actions", embodiment.action))
    if embodiment.poses:
        console.print(_poses(embodiment.poses))
    console.print(_graphs(opened))


def _facts(manifest: Manifest) -> Table:
    table = Table(show_header=False, box=None)
    cameras = ", ".join(
        f"{name} {camera.width}x{camera.height} px ({plural(camera.tokens, 'token')})"
        for name, camera in manifest.cameras.items()
    )
    rows = {
        "source": f"{manifest.source.checkpoint} (SHA-256 {manifest.source.sha256[:16]}…)",
        "robot": f"{manifest.embodiment.name}, {manifest.dof} degrees of freedom "
        f"({manifest.state_dof} of its state)",
        **slot_facts(manifest),
        "cameras": cameras,
        **policy_facts(manifest),
        "second opinion": describe_opinion(manifest.second_opinion),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _degrees(title: str, layout: Layout) -> Table:
    table = Table(title=title)
    for heading in ("name", "slot", "is", "unit", "relative to", "offset ± scale"):
        # Names are what ROBOT.yaml's entries are called: whole, however narrow the terminal is.
        table.add_column(heading, overflow="fold")
    for degree, offset, scale in zip(layout.degrees, layout.offset, layout.scale, strict=True):
        relative = {"absolute": "-", "state": "the state", "first": "the first step"}[degree.reference]
        what = _what(degree, layout)
        table.add_row(
            degree.name, str(degree.slot), what, degree.unit, relative, f"{offset:.3f} ± {scale:.3f}"
        )
    return table


def _what(degree: Degree, layout: Layout) -> str:
    """``joint elbow``, ``left rotation 2 (rpy)``."""
    if degree.part in ("position", "rotation"):
        form = f" ({layout.rotations[degree.of]})" if degree.part == "rotation" else ""
        return f"{degree.of} {degree.part} {degree.index}{form}"
    return f"{degree.part} {degree.of}{f' {degree.index}' if degree.part == 'sink' else ''}".strip()


def _poses(poses: Mapping[str, Pose]) -> Table:
    table = Table(title="poses")
    for heading in ("name", "base", "tip", "numbers in the axes of", "offsets in the axes of"):
        table.add_column(heading)
    for name, pose in poses.items():
        table.add_row(name, pose.base, pose.tip, pose.frame, f"the {pose.offset_axes}")
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
