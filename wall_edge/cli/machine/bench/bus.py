"""``wall-edge bench bus``: how fast the motors' buses go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from wall_edge.bench.bus import BusFigures, measure_bus
from wall_edge.cli.console import SafeConsole
from wall_edge.config import load_robot
from wall_edge.provenance import provenance
from wall_edge.signals import interruptible


def bus(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")],
    seconds: Annotated[float, typer.Option(help="How long each bus is measured.", min=0.5)] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cycles a second of each drive beside what its line allows, and what one lost reply costs.

    Simulated motors take the time of a real line. Real ones are asked for feedback alone: nothing is powered.
    """
    config = load_robot(robot)
    with interruptible():
        figures = {name: measure_bus(config, name, seconds) for name in config.drives}
    facts = provenance()
    if as_json:
        print(json.dumps({"drives": figures, "simulated": config.simulated, **facts}))
        return
    SafeConsole().print(_table(figures, "; ".join(str(fact) for fact in facts.values())))


def _table(figures: dict[str, BusFigures], caption: str) -> Table:
    table = Table(caption=caption)
    for column in ("drive", "kind", "joints", "cycles/s", "ceiling", "ratio", "cycles of a lost reply"):
        table.add_column(column, justify="left" if column in ("drive", "kind") else "right")
    for name, row in figures.items():
        lost = row["lost_reply_extra_cycles"]
        table.add_row(
            name,
            row["kind"],
            str(row["joints"]),
            f"{row['cycles_hz']:.0f}",
            f"{row['ceiling_hz']:.0f}",
            f"{row['ratio']:.2f}",
            "-" if lost is None else str(lost),
        )
    return table
