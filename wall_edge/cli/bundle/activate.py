"""``wall-edge activate``: on the robot, a bundle becomes the one that it runs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stage_progress, stderr
from wall_edge.deploy.engine import AUTO, EngineChoice, RobotEngine
from wall_edge.deploy.place import Place
from wall_edge.deploy.precedence import step_back
from wall_edge.files import shown
from wall_edge.signals import interruptible

if TYPE_CHECKING:
    from wall_edge.deploy.messages import Activation


def activate(
    folder: Annotated[Path, typer.Argument(help="Bundle folder.")],
    at: Annotated[Path, typer.Option(help="Where the robot keeps its bundles; PLACE/current is switched.")],
    engine: Annotated[
        str, typer.Option(help="auto, onnxruntime, tensorrt or tensorrt-rtx; auto: TensorRT where it runs.")
    ] = AUTO,
    device: Annotated[
        str | None, typer.Option(help="Where: cpu, cuda or cuda:N; by default where the engine runs.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Inference threads.", min=1, max=256)] = 2,
    keep: Annotated[
        int, typer.Option(help="Bundles that stay in PLACE/bundles, the new one among them.", min=1)
    ] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    session: Annotated[bool, typer.Option("--session", hidden=True)] = False,
) -> None:
    """Check, build and verify a bundle on this robot, then switch PLACE/current to it.

    Exit code 1 when anything is wrong; PLACE/current is as it was then. A daemon that runs keeps the bundle
    that it opened until it is started again.
    """
    choice, place = EngineChoice(engine, device, threads), Place(at)
    step_back()
    with interruptible():
        if session:
            _session(folder, place, choice, keep)
            return
        from wall_edge.deploy.activation import STAGES, activate_folder

        with stage_progress("activate", STAGES) as progress:
            activation = activate_folder(folder, place, RobotEngine(choice), keep, progress)
    if as_json:
        print(json.dumps(asdict(activation)))
    else:
        print_activation(activation)


def _session(folder: Path, place: Place, choice: EngineChoice, keep: int) -> None:
    """``wall-edge deploy`` on the other end."""
    from wall_edge.deploy.session import Session, end_this_process

    running = Session(sys.stdin.fileno(), sys.stdout, end_this_process)
    if not running.run(folder, place, lambda: RobotEngine(choice), keep):
        raise typer.Exit(1)


def print_activation(activation: Activation) -> None:
    """What a person should know of it. Its text may come from a robot: it is escaped here."""
    for note in activation.notes:
        stderr.print(f"note: {note}", soft_wrap=True)
    console = SafeConsole(soft_wrap=True)
    console.print(f"engine: {shown(activation.description)}")
    if activation.built:
        seconds = sum(activation.built.values())
        console.print(f"built: {', '.join(map(shown, activation.built))} in {seconds:.0f} s")
    table = Table(title=f"verified there, {shown(activation.recipe, 64)}")
    for heading in ("stages", "", "worst error", "tolerance"):
        table.add_column(heading)
    for kind, summary in activation.stages.items():
        allowed = f"{shown(summary.measure, 40)} {summary.tolerance:g}" if summary.tolerance else "exact"
        table.add_row(shown(kind, 64), str(summary.stages), f"{summary.worst:.2e}", allowed)
    SafeConsole().print(table)
    for path in activation.removed:
        console.print(f"removed: {shown(path)}")
    console.print(f"before: {shown(activation.previous or 'nothing')}")
    console.print(f"now: {shown(activation.current)} -> {shown(activation.folder)}")
    console.print(
        f"ROBOT.yaml there: 'bundle: {shown(activation.current)}', "
        f"'policy: {{engine: {shown(activation.engine, 40)}, device: {shown(activation.device, 40)}}}'"
    )
    if activation.running:
        console.print(
            "a daemon runs the bundle before it: restart that (systemctl restart, or 'wall-edge run')"
        )
    else:
        console.print("a daemon that runs keeps its bundle until it is restarted")
