"""A plan for a person: every figure under the word *predicted*."""

from __future__ import annotations

from rich.table import Table
from wall_edge_engines.build.targets.memory import gigabytes
from wall_edge_engines.plan.prediction import Prediction, Span, StagePrediction
from wall_edge_engines.plan.report import PlanReport

from wall_edge.cli.console import SafeConsole

_RUNS = {"word": "one word", "expert": "one step"}
"""What runs of the graphs that do more than one thing."""


def print_plan(report: PlanReport, whose: str) -> None:
    """``whose`` rates were judged."""
    console = SafeConsole(soft_wrap=True)
    work, prediction = report.workload, report.prediction
    cameras = f"{work.cameras} camera{'s' * (work.cameras != 1)}"
    steps = f"{prediction.integration_steps} step{'s' * (prediction.integration_steps != 1)}"
    if prediction.integration_steps is None:
        steps = "words for actions"
    console.print(
        f"predicted, not measured: {report.subject} in {work.recipe}, {cameras}, {work.prompt_tokens} prompt "
        f"tokens, {steps}, on {report.target.title}"
    )
    console.print(_table(prediction))
    console.print(f"a chunk is vision, prefix and {steps}")
    if prediction.chunk_rate_hz is not None:
        low, high = prediction.chunk_rate_hz
        console.print(f"chunk rate, predicted: {_number(low)} to {_number(high)} Hz")
    _print_memory(console, report)
    _print_rates(console, report, whose)
    console.print(f"recommended: {report.recommendation.words}")
    for note in report.notes:
        console.print(f"note: {note}")


def _table(prediction: Prediction) -> Table:
    table = Table(title="predicted")
    for heading in ("", "bytes", "operations", "floor", "likely", "bound by"):
        table.add_column(heading, justify="left" if heading in ("", "bound by") else "right")
    for name, stage in prediction.stages.items():
        table.add_row(_RUNS.get(name, name), *_cells(stage))
    table.add_row("chunk", "", "", _ms(prediction.chunk_floor_ms), _span(prediction.chunk_ms), "")
    return table


def _cells(stage: StagePrediction) -> tuple[str, ...]:
    size, work = f"{_number(stage.bytes / 1e6)} MB", f"{_number(stage.operations / 1e9)} G"
    return size, work, _ms(stage.floor_ms), _span(stage.likely_ms), stage.bound or ""


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{_number(value)} ms"


def _span(span: Span | None) -> str:
    if span is None:
        return "?"
    return f"{_number(span[0])} to {_ms(span[1])}"


def _number(value: float) -> str:
    """At least two digits that say something: a small figure does not read as 0."""
    if value < 1:
        return f"{value:.2g}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _print_memory(console: SafeConsole, report: PlanReport) -> None:
    memory = report.memory
    of_device = "" if memory.device is None else f", the device has {gigabytes(memory.device)}"
    console.print(f"memory to run, predicted: {memory.run}{of_device}")
    if report.target.sm is not None:  # nothing is built for a processor
        largest = f"{gigabytes(memory.build)} for {memory.build_graph}, the most"
        console.print(f"memory to build, predicted: {largest}")


def _print_rates(console: SafeConsole, report: PlanReport, whose: str) -> None:
    if report.rates is None:
        return
    console.print(f"rates of {whose}: {report.rates.words}")
    for need in report.rates.needs:
        console.print(f"  {need.holds:7} {need.what}: {need.words}")
