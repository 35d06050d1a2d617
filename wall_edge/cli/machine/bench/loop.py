"""``wall-edge bench loop``: how late the servo loop's ticks begin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, cast, get_args

import typer
from rich.table import Table

from wall_edge.bench.loop import measure
from wall_edge.bench.processes import Load
from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stage_progress, stderr
from wall_edge.errors import ConfigError, plural
from wall_edge.signals import interruptible


def loop(
    rate: Annotated[float, typer.Option(help="Ticks a second, 10 to 1000.")] = 500.0,
    seconds: Annotated[
        float, typer.Option(help="How long each loop is measured [s].", min=0.1, max=86400)
    ] = 10.0,
    load: Annotated[
        str, typer.Option(help=f"What keeps every core busy meanwhile: {', '.join(get_args(Load))}.")
    ] = "none",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """How late the servo loop's ticks begin, beside a relative-sleep loop and cyclictest."""
    if load not in get_args(Load):
        raise ConfigError(f"--load {load}", expected=f"one of {', '.join(get_args(Load))}")
    stages = ("load", "servo loop, cyclictest", "relative sleep")
    with interruptible(), stage_progress(f"{rate:g} Hz", stages) as stage:
        result = measure(rate, seconds, cast(Load, load), stage)
    if as_json:
        print(json.dumps(result))
        return
    SafeConsole().print(_table(result))
    for refusal in result["refused"]:
        stderr.print(f"note: {refusal}")


def _table(result: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"lateness at {result['rate_hz']:g} Hz for {result['seconds']:g} s, load: {result['load']}",
        caption=f"{result['machine']}; Python {result['python']}, {result['versions']}; {result['date']}",
    )
    for name in ("loop", "p50", "p99", "p99.9", ""):
        table.add_column(name, justify="left" if name in ("loop", "") else "right")
    ours = f"{plural(result['ticks'], 'tick')}, {plural(result['overruns'], 'overrun')} "
    ours += f"({plural(result['skipped'], 'tick')} skipped)"
    ours += "" if result["fifo"] else "; without SCHED_FIFO"
    table.add_row("servo loop", *_numbers(result["ours"]), ours)
    relative = f"drifted {result['relative_sleep_drift_ms']:.0f} ms; p99 is {{:.1f}} times the servo loop's"
    table.add_row(
        "relative sleep",
        *_numbers(result["relative_sleep"]),
        relative.format(result["ratio_p99_relative_to_ours"]),
    )
    if result["cyclictest"] is None:
        table.add_row("cyclictest", "-", "-", "-", result["cyclictest_note"])
        return table
    ratio = f"the servo loop's p99.9 is {result['ratio_p999_to_cyclictest']:.1f} times this"
    table.add_row("cyclictest", *_numbers(result["cyclictest"]), ratio)
    return table


def _numbers(percentiles: Mapping[str, float]) -> list[str]:
    return [f"{value:.0f} µs" for value in percentiles.values()]
