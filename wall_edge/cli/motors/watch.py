"""``wall-edge motors watch``: what the motors say, live."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.live import Live
from rich.table import Table
from wall_edge_bridge.drives import Drive, Feedback

from wall_edge.cli.console import SafeConsole
from wall_edge.config import load_robot
from wall_edge.errors import BusTimeout
from wall_edge.motors.access import open_motors
from wall_edge.motors.reading import COLUMNS, rows
from wall_edge.signals import stop_flag, unhold

_LOOK_NS = 500_000_000
_HEADINGS = {"temperature": "temp."}
_DECIMALS = {"temperature": 1, "voltage": 1, "age": 1}


def watch(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml")],
    rate: Annotated[float, typer.Option(help="Looks a second.", min=0.1, max=100.0)] = 5.0,
    seconds: Annotated[
        float | None, typer.Option(help="End after so long [s]; without it, at Ctrl-C.", min=0.0, max=1e9)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line a look.")] = False,
) -> None:
    """A live table of every joint: position, velocity, effort, temperature, voltage, age, faults.

    Nothing is powered, written or commanded. Refused while 'wall-edge run' holds the bus.
    """
    config = load_robot(robot)
    console = SafeConsole()
    end = None if seconds is None else time.monotonic() + seconds
    with open_motors(config) as motors, stop_flag() as stop_requested:
        unhold()
        motors.drives.connect()
        with Live(console=console, auto_refresh=False, transient=False) as live:
            while not stop_requested():
                table = _look(motors.drives, as_json)
                if not as_json and not console.is_terminal:
                    console.print(table)  # Live would keep all but the last from a pipe
                elif not as_json:
                    live.update(table, refresh=True)
                if end is not None and time.monotonic() >= end:
                    break
                time.sleep(1.0 / rate)


def _look(drives: Drive, as_json: bool) -> Table:
    now = time.monotonic_ns()
    try:
        feedback: Feedback | None = drives.look(now + _LOOK_NS)
    except BusTimeout:
        feedback = None
    lines = rows(drives, feedback, time.monotonic_ns())
    if as_json:
        print(json.dumps(lines), flush=True)
        return Table()
    return _table(lines, drives)


def _table(lines: list[dict[str, object]], drives: Drive) -> Table:
    counters = {name: count for name, count in vars(drives.counters).items() if count and name != "cycles"}
    caption = ", ".join(f"{name} {count}" for name, count in counters.items()) or "no bus errors"
    table = Table(caption=caption, box=SIMPLE_HEAD)  # a terminal of 80 columns has no room for lines
    for name, unit in COLUMNS.items():
        heading = f"{_HEADINGS.get(name, name)}\n[{unit}]" if unit else name
        table.add_column(heading, justify="right" if unit else "left", no_wrap=name != "faults")
    for line in lines:
        table.add_row(*(_cell(name, value) for name, value in line.items()))
    return table


def _cell(name: str, value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.{_DECIMALS.get(name, 3)}f}" if isinstance(value, float) else str(value)
