"""``wall-edge tune``: the fewest integration steps whose action chunks stay within an error.

It needs neither torch nor the checkpoint, so it runs where the bundle runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
import wall_edge_engines
from rich.table import Table
from wall_edge_engines import Engine, EngineSettings

from wall_edge.bundle import Bundle, require_flow
from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stage_progress
from wall_edge.errors import plural
from wall_edge.policies.prompts import Prompts
from wall_edge.session_format import Sample
from wall_edge_export.data.load import load_samples
from wall_edge_export.quantize.action_error import ActionError, action_error, chunks


@dataclass(frozen=True)
class Trial:
    """How far the chunks of ``steps`` integration steps are from those of the bundle's own time grid."""

    steps: int
    error: ActionError
    within: bool


def tune(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    data: Annotated[Path, typer.Option(help="Recorded session or LeRobot dataset to measure on.")],
    max_action_error: Annotated[
        float, typer.Option(help="Largest relative L2 error of the normalised chunk.", min=1e-6, max=1.0)
    ] = 0.02,
    samples: Annotated[int, typer.Option(help="Samples drawn from the data.", min=8)] = 32,
    threads: Annotated[int, typer.Option(help="Inference threads.", min=1)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the fewest integration steps within an action error; exit code 1 when none saves a step."""
    opened = Bundle(bundle)
    manifest = opened.manifest
    flow = require_flow(manifest.actions, "flow actions, which are integrated", before=f"{bundle}: ")
    sample_set = load_samples(
        data,
        embodiment=manifest.embodiment,
        cameras=manifest.cameras,
        horizon=manifest.horizon,
        action_rate_hz=manifest.action_rate_hz,
        count=samples,
    )
    engine = wall_edge_engines.load(opened, EngineSettings(threads=threads))
    trials = _try(opened, engine, sample_set.samples, max_action_error, flow.integration_steps)
    fewest = next((entry.steps for entry in trials if entry.within), None)
    _report(trials, fewest, max_action_error, flow.integration_steps, as_json=as_json)
    if fewest is None:
        raise typer.Exit(1)


def _try(
    bundle: Bundle, engine: Engine, samples: tuple[Sample, ...], limit: float, bundle_steps: int
) -> list[Trial]:
    """Every number of steps below the bundle's own, fewest first, up to the first that stays within."""
    manifest, prompts = bundle.manifest, Prompts.of(bundle)
    counts = range(1, bundle_steps)
    trials: list[Trial] = []
    with stage_progress("tune", ("reference", *(plural(steps, "step") for steps in counts))) as progress:
        progress("reference")
        reference = chunks(manifest, prompts, engine, samples)
        for steps in counts:
            progress(plural(steps, "step"))
            actual = chunks(manifest, prompts, engine, samples, integration_steps=steps)
            error = action_error(actual, reference)
            trials.append(Trial(steps, error, error.upper_relative_l2 <= limit))
            if trials[-1].within:
                break
    return trials


def _report(
    trials: list[Trial], fewest: int | None, limit: float, bundle_steps: int, *, as_json: bool
) -> None:
    if as_json:
        entries = [{"steps": entry.steps, "within": entry.within, **asdict(entry.error)} for entry in trials]
        print(
            json.dumps(
                {"steps": fewest, "bundle_steps": bundle_steps, "max_action_error": limit, "tried": entries}
            )
        )
        return
    table = Table(title=f"against the bundle's own {plural(bundle_steps, 'step')}")
    for heading in ("steps", "relative L2", "at most (97.5 %)", "cosine", ""):
        table.add_column(heading)
    for entry in trials:
        error = entry.error
        numbers = (f"{error.relative_l2:.4f}", f"{error.upper_relative_l2:.4f}", f"{error.cosine:.6f}")
        table.add_row(str(entry.steps), *numbers, "within" if entry.within else "")
    SafeConsole().print(table)
    if fewest is None:
        print(f"nothing below {plural(bundle_steps, 'step')} stays within {limit:g}")
    else:
        print(
            f"{plural(fewest, 'step')} within {limit:g}: set policy.integration_steps: {fewest} in ROBOT.yaml"
        )
