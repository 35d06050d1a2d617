"""``wall-edge export``: plugged into the command line, so that the robot side never imports torch."""

from __future__ import annotations

import contextlib
import json
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from wall_edge.body.model import RobotModel
from wall_edge.bundle import Manifest, describe_opinion
from wall_edge.cli.bundle.facts import policy_facts
from wall_edge.cli.output import stage_progress
from wall_edge.config import load_robot
from wall_edge.errors import ConfigError
from wall_edge.files import shown
from wall_edge.signals import interruptible

_OPEN_FILES = 64


def export(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder or Hugging Face id (owner/name).")],
    out: Annotated[Path, typer.Option(help="Where the bundle goes; an earlier bundle is replaced.")],
    robot: Annotated[Path | None, typer.Option(help="ROBOT.yaml: cameras, joints and limits.")] = None,
    precision: Annotated[str, typer.Option(help="A recipe's name or YAML file, or auto.")] = "fp32",
    max_action_error: Annotated[
        float | None, typer.Option(help="For auto: largest relative L2 error of the final chunk.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Recorded session or LeRobot dataset to calibrate on.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Samples drawn from it: 32, or 96 for auto.", min=8)
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="Text file of subgoals: keep only the tokens that they need.")
    ] = None,
    fast: Annotated[
        Path | None, typer.Option(help="FAST actions: folder of the FAST tokenizer (wall-oss-fast).")
    ] = None,
    guidance: Annotated[
        bool,
        typer.Option(
            "--guidance",
            help="Add the graph for real-time chunking through the expert's Jacobian. Off by default: it "
            "stores the expert's weights a second time, in float32.",
        ),
    ] = False,
    base: Annotated[str | None, typer.Option(help="Base model of a LeRobot policy: folder or id.")] = None,
    adapter: Annotated[str | None, typer.Option(help="LoRA adapter (PEFT folder) to merge.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export a WALL-OSS checkpoint to a bundle of graphs. An interrupted export resumes when run again."""
    _require_open_files()
    for value in (checkpoint, robot, precision, calibration, vocabulary, fast, base, adapter):
        _require_a_path(value, "a path, or a Hub id")
    _require_a_path(out, "a folder that can be written")
    config = load_robot(robot) if robot is not None else None
    if config is not None and config.kinematics is not None:
        RobotModel.of(config)  # said now, and not by a start after an hour's export
    # torch takes seconds to import: only once the arguments are known to be good.
    try:
        from wall_edge_export.bundle.options import ExportOptions
        from wall_edge_export.bundle.pipeline import STAGES, export_bundle
        from wall_edge_export.checkpoint.checkpoint import open_checkpoint
    except ImportError as error:
        raise ConfigError(
            f"export needs {error.name}",
            expected="the exporter's packages",
            fix="pip install 'wall-edge[export]'",
        ) from error

    start = time.monotonic()
    options = ExportOptions(precision, max_action_error, calibration, samples, vocabulary, fast, guidance)
    with interruptible(), stage_progress("export", STAGES) as progress:
        opened = open_checkpoint(checkpoint, base, adapter)
        manifest = export_bundle(opened, out, config, options, progress)
    _report(manifest, out, time.monotonic() - start, opened.notes, as_json=as_json)


def _require_a_path(value: str | Path | None, expected: str) -> None:
    """Whether the system can look a name up at all: it refuses NULs and thousands of characters."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            Path(value or ".").stat()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError(f"{shown(value, 100)}: {reason}", expected=expected) from None


def _require_open_files() -> None:
    """Libraries answer too few open files with tracebacks of their own, in the middle of the work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    if 0 <= soft < _OPEN_FILES and (unlimited or hard > soft):
        soft = _OPEN_FILES if unlimited else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if 0 <= soft < _OPEN_FILES:
        raise ConfigError(
            f"a limit of {soft} open files",
            expected=f"at least {_OPEN_FILES}",
            fix=f"ulimit -n {4 * _OPEN_FILES}",
        )


def _report(manifest: Manifest, out: Path, seconds: float, notes: Sequence[str], *, as_json: bool) -> None:
    graphs: dict[str, dict[str, Any]] = {}
    for name, spec in manifest.graphs.items():
        size = sum((out / file).stat().st_size for file in (spec.file, spec.data))
        graphs[name] = {"bytes": size, "precision": spec.precision}
    total = sum(path.stat().st_size for path in out.iterdir())
    # Linux counts in units of 1024 bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if as_json:
        report = {
            "family": manifest.family,
            "recipe": manifest.recipe,
            "bytes": total,
            "seconds": round(seconds, 3),
            "peak_rss_bytes": peak,
            "graphs": graphs,
            "second_opinion": asdict(opinion) if (opinion := manifest.second_opinion) else None,
            "notes": list(notes),
        }
        print(json.dumps(report))
        return
    print(
        f"exported {out}: {manifest.recipe}, {total / 1e6:.1f} MB in {seconds:.1f} s, "
        f"at most {peak / 1e9:.2f} GB of memory"
    )
    for name, graph in graphs.items():
        print(f"  {name:8} {graph['bytes'] / 1e6:10.1f} MB  {graph['precision']}")
    for heading, fact in policy_facts(manifest).items():
        print(f"{heading}: {fact}")
    print(f"second opinion: {describe_opinion(manifest.second_opinion)}")
    for note in notes:
        print(f"  note: {note}")
