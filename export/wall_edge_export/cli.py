"""``wall-edge export``: plugged into the command line, so that the robot side never imports torch."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from wall_edge.bundle import Manifest
from wall_edge.cli.output import stage_progress
from wall_edge.config import load_robot
from wall_edge.errors import ConfigError
from wall_edge.signals import interruptible


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Folder with config.json, safetensors and tokenizer.json.")
    ],
    out: Annotated[Path, typer.Option(help="Where the bundle goes; an earlier bundle is replaced.")],
    robot: Annotated[Path | None, typer.Option(help="ROBOT.yaml: cameras, joints and limits.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export a WALL-OSS checkpoint to a bundle of graphs."""
    config = load_robot(robot) if robot is not None else None
    # torch takes seconds to import: only once the arguments are known to be good.
    try:
        from .pipeline import STAGES, export_bundle
    except ImportError as error:
        raise ConfigError(
            f"export needs {error.name}",
            expected="the exporter's packages",
            fix="pip install 'wall-edge[export]'",
        ) from error

    start = time.monotonic()
    with interruptible(), stage_progress("export", STAGES) as progress:
        manifest = export_bundle(checkpoint, out, config, progress)
    _report(manifest, out, time.monotonic() - start, as_json=as_json)


def _report(manifest: Manifest, out: Path, seconds: float, *, as_json: bool) -> None:
    graphs = {
        name: {"bytes": (out / spec.file).stat().st_size, "precision": spec.precision}
        for name, spec in manifest.graphs.items()
    }
    total = sum(path.stat().st_size for path in out.iterdir())
    if as_json:
        print(json.dumps({"recipe": "fp32", "bytes": total, "seconds": round(seconds, 3), "graphs": graphs}))
        return
    names = ", ".join(graphs)
    print(f"exported {out}: {names} ({total / 1e6:.1f} MB, fp32) in {seconds:.1f} s")
