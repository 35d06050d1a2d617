"""``wall-edge deploy``: from the workstation, a bundle becomes the one that a robot runs."""

from __future__ import annotations

import json
import shlex
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from wall_edge.bundle import Bundle
from wall_edge.cli.bundle.activate import print_activation
from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stage_progress, stderr
from wall_edge.deploy.deployment import STAGES, Deployment, Request, from_home
from wall_edge.deploy.deployment import deploy as deploy_bundle
from wall_edge.deploy.engine import AUTO, EngineChoice
from wall_edge.deploy.ssh import Ssh
from wall_edge.errors import ConfigError, plural
from wall_edge.files import shown
from wall_edge.provenance import wall_edge_version
from wall_edge.signals import interruptible

PLACE = "wall-edge-bundles"


def deploy(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    destination: Annotated[str, typer.Argument(help="USER@HOST, or a host of ~/.ssh/config.")],
    at: Annotated[
        str,
        typer.Option(
            help="Where the robot keeps its bundles, from the login's home; PLACE/current is switched."
        ),
    ] = PLACE,
    command: Annotated[str, typer.Option(help="How wall-edge is called there.")] = "wall-edge",
    port: Annotated[int | None, typer.Option(help="The ssh server's port.", min=1, max=65535)] = None,
    engine: Annotated[
        str, typer.Option(help="auto, onnxruntime, tensorrt or tensorrt-rtx; auto: TensorRT where it runs.")
    ] = AUTO,
    device: Annotated[str | None, typer.Option(help="Where it runs there: cpu, cuda or cuda:N.")] = None,
    threads: Annotated[int, typer.Option(help="Inference threads there.", min=1, max=256)] = 2,
    keep: Annotated[int, typer.Option(help="Bundles that stay there, the new one among them.", min=1)] = 2,
    transfer: Annotated[
        str, typer.Option(help="auto, rsync or sftp; auto: rsync where both sides have it.")
    ] = "auto",
    limit: Annotated[int | None, typer.Option(help="KB/s that the copy may take.", min=1)] = None,
    ssh_option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for ssh -o; may be said again and again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Copy a bundle to a robot over ssh, have it checked, built and verified there, then switch to it.

    Broken off at any point, the same command goes on where it stopped; the robot's former bundle stays
    current until the new one has verified there. Exit code 1 when anything is wrong.
    """
    choice = EngineChoice(engine, device, threads)
    options = ["--engine", choice.engine, "--threads", str(threads), "--keep", str(keep)]
    options += ["--device", choice.device] if choice.device is not None else []
    with interruptible(), tempfile.TemporaryDirectory(prefix="wall-edge-") as scratch:
        ssh = Ssh(destination, ssh_option or (), port, Path(scratch))
        words = _words(command)
        from_home(at)
        with stage_progress("deploy", STAGES) as progress:
            request = Request(Bundle(bundle), at, words, options, transfer, limit)
            deployment = deploy_bundle(ssh, request, Path(scratch), progress)
    if as_json:
        print(json.dumps(asdict(deployment)))
    else:
        _print(deployment)


def _words(command: str) -> list[str]:
    """A command's words; ``~/`` before its first is left out, as a login starts at home."""
    try:
        first, *rest = shlex.split(command)
    except ValueError:
        raise ConfigError(f"--command {shown(command)}", expected="a command, quoted as in a shell") from None
    return [f"./{first[2:]}" if first.startswith("~/") else first, *rest]


def _print(deployment: Deployment) -> None:
    if deployment.version != wall_edge_version():
        here, there = wall_edge_version() or "unknown", shown(deployment.version or "unknown", 40)
        stderr.print(f"note: wall-edge {there} there, {here} here", soft_wrap=True)
    if deployment.again:
        stderr.print(
            f"note: damaged on the way, copied again: {shown(', '.join(deployment.again))}", soft_wrap=True
        )
    console = SafeConsole(soft_wrap=True)
    if deployment.transfer is None:
        console.print(f"{deployment.destination}: the bundle was there already")
    else:
        speed = deployment.copied_bytes / 1e6 / max(deployment.copy_s, 1e-3)
        console.print(
            f"{deployment.destination}: copied {deployment.copied_bytes / 1e6:.1f} MB "
            f"({plural(deployment.files, 'file')}) in {deployment.copy_s:.1f} s by {deployment.transfer}, "
            f"{speed:.1f} MB/s"
        )
    print_activation(deployment.activation)
