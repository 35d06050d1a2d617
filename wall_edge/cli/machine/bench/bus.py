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
from wall_edge.errors import plural
from wall_edge.provenance import provenance
from wall_edge.signals import interruptible

_COLUMNS = ("drive", "motors", "ceiling", "cycles/s", "ratio", "protocol", "CPU µs", "real time")
_NOTE = """\
ceiling: cycles/s that the line allows, at worst stuffing.
cycles/s, ratio: line and the drive's own processor time ("CPU").
protocol: the ratio of a drive that computes in no time.
real time: cycles/s with the twin in another process, its and the scheduler's time too."""


def bus(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")],
    seconds: Annotated[
        float, typer.Option(help="How long each bus is measured in real time.", min=0.5, max=3600.0)
    ] = 3.0,
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
    console = SafeConsole()
    console.print(_table(figures))
    for name, row in figures.items():
        if row["lost_reply_ms"] is not None:
            console.print(
                f"{name}: one lost reply costs {plural(row['lost_reply_joints'] or 0, 'joint')} of "
                f"{plural(row['lost_reply_extra_cycles'] or 0, 'cycle')}, "
                f"which lasts {row['lost_reply_ms']:.1f} ms longer"
            )
    console.print(_NOTE if config.simulated else "Measured on the real buses.")
    console.print("; ".join(str(fact) for fact in facts.values()))


def _table(figures: dict[str, BusFigures]) -> Table:
    table = Table()
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in _COLUMNS[:2] else "right")
    for name, row in figures.items():
        table.add_row(
            name,
            f"{row['joints']} {row['kind']}",
            f"{row['ceiling_hz']:.0f}",
            f"{row['cycles_hz']:.0f}",
            f"{row['ratio']:.2f}",
            _number(row["protocol_ratio"], 2),
            _number(row["drive_cpu_us"]),
            _number(row["two_processes_hz"]),
        )
    return table


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
