"""``wall-edge doctor``: what keeps this computer from running a robot well."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wall_edge.cli.console import SafeConsole
from wall_edge.errors import plural
from wall_edge.files import shown

if TYPE_CHECKING:  # --help needs none of it
    from wall_edge.board import Facts
    from wall_edge.doctor import Machine, Report


def doctor(
    robot: Annotated[
        Path | None, typer.Argument(help="ROBOT.yaml: its port, cameras and bundle are looked for.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Read another machine's files, below this folder.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose groups and limits; you, by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check releases, power mode, clocks, memory, real time, rights, ports, cameras and CAN; say the fixes.

    Reads files only and changes nothing. Exit code 1 when something keeps the robot from running.
    """
    from wall_edge.doctor import diagnose

    machine = _machine(robot, root, user)
    report = diagnose(machine)
    if as_json:
        print(json.dumps(_data(machine.facts, report)))
    else:
        _print(machine, report)
    if not report.ok:
        raise typer.Exit(1)


def _machine(robot: Path | None, root: Path | None, user: str | None) -> Machine:
    from wall_edge.board import Tree, read_facts
    from wall_edge.config import load_robot
    from wall_edge.doctor import Machine, this_machine

    config = None if robot is None else load_robot(robot)
    if root is None:
        return this_machine(config, user)
    tree = Tree.below(root)
    return Machine(tree, read_facts(tree), config, user)


def _data(facts: Facts, report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "facts": {**asdict(facts), "is_jetson": facts.is_jetson, "clocks_locked": facts.clocks_locked},
        "findings": [asdict(finding) for finding in report.findings],
        "checked": list(report.checked),
    }


def _print(machine: Machine, report: Report) -> None:
    console = SafeConsole(soft_wrap=True)
    for line in _title(machine.facts):
        console.print(shown(line, 400))
    for finding in report.findings:
        console.print(f"{finding.severity}: {finding.check}: {finding.what}")
        console.print(f"    {finding.fix}")
    counts = {kind: sum(f.severity == kind for f in report.findings) for kind in ("error", "warning", "note")}
    words = ", ".join(plural(count, kind) for kind, count in counts.items() if count)
    console.print(f"{plural(len(report.checked), 'check')}: {words or 'nothing to mend'}")


def _title(facts: Facts) -> list[str]:
    """What the board is, what runs on it, how fast it may go."""
    if not facts.is_jetson:
        return [f"not a Jetson (kernel {shown(facts.kernel or '?', 60)}): general checks only"]
    board = facts.model or "a Jetson"
    board += f" ({facts.part_number})" if facts.part_number else ""
    board += f", {facts.memory_total_bytes / 2**30:.1f} GiB" if facts.memory_total_bytes else ""
    versions = {
        "JetPack": facts.jetpack,
        "L4T": facts.l4t,
        "TensorRT": facts.tensorrt,
        "CUDA": facts.cuda,
        "kernel": facts.kernel,
    }
    software = ", ".join(f"{name} {version or '?'}" for name, version in versions.items())
    clock = facts.gpu_clock or facts.cpu_clocks
    clocks = "locked" if facts.clocks_locked else "not locked" if clock else "?"
    return [board, software, f"power mode {facts.power_mode or '?'}, clocks {clocks}"]
