"""``wall-edge eval``: schedulers, delays and faults on the simulated arm, in virtual time."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.progress import track
from rich.table import Table

from wall_edge.bundle import Bundle
from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stderr
from wall_edge.config import SCHEDULERS, RobotConfig, RtcScheduler, SchedulerConfig, load_robot
from wall_edge.errors import ConfigError
from wall_edge.sim.evaluate import Cell, Row, check, evaluate
from wall_edge.sim.faults import FAULTS
from wall_edge.sim.virtual import Delays

RTC_FORMS = ("elementwise", "jacobian")
_MOST_JOBS = 256


def evaluation(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml of a simulated robot.")],
    scheduler: Annotated[
        str | None, typer.Option(help="One or more, with commas, or 'all'; default: ROBOT.yaml's.")
    ] = None,
    delay_ms: Annotated[str, typer.Option(help="From an observation to its chunk, with commas [ms].")] = "0",
    jitter_ms: Annotated[
        float, typer.Option(help="The delay varies by up to ± this [ms].", min=0.0, max=1e6)
    ] = 0.0,
    subgoal_delay_ms: Annotated[
        float | None,
        typer.Option(help="From an observation to its subgoal; default: delay-ms.", min=0.0, max=1e6),
    ] = None,
    episodes: Annotated[int, typer.Option(help="How many layouts.", min=1)] = 20,
    seed: Annotated[int | None, typer.Option(help="Of the layouts; default: ROBOT.yaml's.")] = None,
    fault: Annotated[
        str | None, typer.Option(help=f"'all', or some of {', '.join(FAULTS)}: put in during each episode.")
    ] = None,
    rtc_form: Annotated[
        str | None, typer.Option(help="elementwise or jacobian; default: ROBOT.yaml's.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Instead of ROBOT.yaml's.")] = None,
    jobs: Annotated[
        int, typer.Option(help="Processes; the results do not depend on it.", min=1, max=_MOST_JOBS)
    ] = min(os.cpu_count() or 1, _MOST_JOBS),
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object a row.")] = False,
) -> None:
    """Run the robot's own scheduler, splice, limiter and policy code in virtual time.

    Exit code 1 when a setpoint broke a limit, or a fault did not end in the state it must end in.
    """
    config = load_robot(robot)
    config = replace(config, bundle=bundle.resolve() if bundle else config.bundle)
    if seed is not None and config.simulation is not None:
        config = replace(config, simulation=replace(config.simulation, seed=seed))
    form = None if rtc_form is None else _names("rtc form", rtc_form, RTC_FORMS)[0]
    asked = config.policy.scheduler.kind if scheduler is None else scheduler
    kinds = _names("scheduler", asked, tuple(SCHEDULERS))
    faults: Sequence[str | None] = (None,) if fault is None else _faults(fault, config)
    cells = [
        Cell(
            _scheduler(config, kind, form),
            Delays(delay, jitter_ms, delay if subgoal_delay_ms is None else subgoal_delay_ms),
            episodes,
            fault_name,
        )
        for kind in kinds
        for delay in _delays(delay_ms)
        for fault_name in faults
    ]
    opened = Bundle(config.bundle)
    check(config, opened, cells)
    rows = list(track(evaluate(config, opened, cells, jobs), "evaluating", len(cells), console=stderr))
    print(json.dumps(rows, indent=1)) if as_json else SafeConsole().print(_table(config, rows))
    if any(row["limit_violations"] or _failed(row) for row in rows):
        raise typer.Exit(1)


def _failed(row: Row) -> bool:
    return row["fault"] is not None and (
        row["final_state"] != row["expected_state"] or row["reaction_ms"] is None
    )


def _scheduler(config: RobotConfig, kind: str, rtc_form: str | None) -> SchedulerConfig:
    """ROBOT.yaml's where it is of this kind, else one with the kind's default settings."""
    scheduler = config.policy.scheduler
    if scheduler.kind != kind:
        scheduler = SCHEDULERS[kind]()
    if rtc_form is not None and isinstance(scheduler, RtcScheduler):
        return replace(scheduler, form=cast(Literal["elementwise", "jacobian"], rtc_form))
    return scheduler


def _names(what: str, option: str, choices: Sequence[str]) -> list[str]:
    """The choices that an option lists with commas, or all."""
    names = list(choices) if option == "all" else [name.strip() for name in option.split(",")]
    for name in names:
        if name not in choices:
            close = difflib.get_close_matches(name, choices, n=1)
            fix = f"did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"{what} {name!r}", expected=f"one of {', '.join(choices)}, or all", fix=fix)
    return names


def _faults(option: str, config: RobotConfig) -> list[str]:
    """Of all, those that the robot's motors can have; one that is named and that they cannot is refused."""
    if option == "all":
        return [name for name, fault in FAULTS.items() if fault.fits(config)]
    return _names("fault", option, tuple(FAULTS))


def _delays(option: str) -> list[float]:
    try:
        delays = [float(part) for part in option.split(",")]
    except ValueError:
        delays = [-1.0]
    if not all(0 <= delay < 1e6 for delay in delays):
        raise ConfigError(f"--delay-ms {option}", expected="milliseconds from 0, with commas: 0,100,300")
    return delays


def _table(config: RobotConfig, rows: Sequence[Row]) -> Table:
    assert config.simulation is not None
    table = Table(
        title=f"{config.name} in virtual time: blocks drift {config.simulation.drift_mm_s:g} mm/s, "
        f"{config.simulation.time_limit_s:g} s a task, seed {config.simulation.seed}"
    )
    faulty = any(row["fault"] for row in rows)
    names = ["scheduler", "delay"]
    names += ["fault", "ends in", "noticed after"] if faulty else ["done", "median", "paused", "wrong/late"]
    for name in (*names, "peak jerk", "rms jerk", "beyond limits"):
        table.add_column(name, justify="right" if name not in ("scheduler", "fault", "ends in") else "left")
    for row in rows:
        cells = [row["scheduler"], f"{row['delay_ms']:g} ms"]
        cells += _fault_cells(row) if faulty else _task_cells(row)
        jerks = (f"{row['peak_jerk']:.0f} rad/s³", f"{row['rms_jerk']:.0f} rad/s³")
        table.add_row(*cells, *jerks, str(row["limit_violations"]))
    return table


def _task_cells(row: Row) -> list[str]:
    median = "-" if row["median_s"] is None else f"{row['median_s']:.2f} s"
    done = f"{row['successes']} of {row['episodes']}"
    return [
        done,
        median,
        f"{row['paused_s']:.2f} s",
        f"{row['wrong_block'] + row['wrong_hand']}/{row['timeouts']}",
    ]


def _fault_cells(row: Row) -> list[str]:
    verdict = f" (must be {row['expected_state']})" if _failed(row) else ""
    after = "never" if row["reaction_ms"] is None else f"{row['reaction_ms']:.0f} ms"
    return [str(row["fault"]), f"{row['final_state']}{verdict}", after]
