"""``wall-edge probe``: what the device at hand reaches, for ``wall-edge plan`` to predict with."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from wall_edge.cli.console import SafeConsole
from wall_edge.cli.output import stage_progress
from wall_edge.files import shown
from wall_edge.provenance import provenance
from wall_edge.signals import interruptible

if TYPE_CHECKING:  # --help needs none of it
    from wall_edge_engines.build.targets.target import Target
    from wall_edge_engines.probe.measure import Probed, Rate


def probe(
    engine: Annotated[str, typer.Option(help="What runs the products.")] = "onnxruntime",
    device: Annotated[
        str | None, typer.Option(help="Where: cpu, cuda or cuda:N; TensorRT's is cuda, else the CPU.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads, on a CPU.", min=1)] = 2,
    out: Annotated[
        Path | None, typer.Option(help="Target file to write (NAME.yaml), for plan and bench policy.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the device at hand: reads and copies of its memory, products at the model's shapes.

    Takes about half a minute. Run it on a machine that does nothing else, with locked clocks on a Jetson.
    """
    from wall_edge_engines import EngineSettings
    from wall_edge_engines.probe.graphs import KINDS
    from wall_edge_engines.probe.measure import probe as measured
    from wall_edge_engines.probe.measure import usual_sizes
    from wall_edge_engines.probe.target_file import probed_target, require_place, write_target

    if out is not None:
        require_place(out)
    usual = "cpu" if engine == "onnxruntime" else "cuda"
    settings = EngineSettings(engine, usual if device is None else device, threads)
    with interruptible(), stage_progress("probe", KINDS) as progress:
        probed = measured(settings, usual_sizes(settings), progress)
        target = probed_target(out.stem if out is not None else "probed", probed, settings)
    if out is not None:
        write_target(out, target)
    if as_json:
        print(json.dumps(_report(probed, target)))
    else:
        _print(probed, target, out)


def _report(probed: Probed, target: Target) -> dict[str, object]:
    return {
        "engine": probed.engine,
        "rates": [asdict(rate) for rate in probed.rates],
        "skipped": dict(probed.skipped),
        "target": asdict(target),
        "provenance": provenance("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx"),
    }


def _print(probed: Probed, target: Target, out: Path | None) -> None:
    console = SafeConsole(soft_wrap=True)
    console.print(f"{target.title}: {probed.engine}")
    table = Table(title="measured")
    for heading in ("", "shape", "median", "from", "to"):
        table.add_column(heading, justify="left" if heading in ("", "shape") else "right")
    for rate in probed.rates:
        table.add_row(f"{rate.what} {rate.kind}".strip(), _shape(rate), *_values(rate))
    console.print(table)
    for kind, reason in probed.skipped.items():
        console.print(f"{kind} was not measured: {reason}")
    for note in target.notes[:2]:
        console.print(note)
    if out is not None:
        console.print(f"wrote {shown(out)}: use it with 'wall-edge plan … --target {shown(out)}'")


def _shape(rate: Rate) -> str:
    if rate.what == "copy":
        return f"{rate.shape[0] / 1e6:.0f} MB"
    rows, inner, outer = rate.shape
    return f"{rows} x {inner} x {outer}"


def _values(rate: Rate) -> tuple[str, ...]:
    divisor, unit = (1e12, "T/s") if rate.what == "product" else (1e9, "GB/s")
    return tuple(f"{value / divisor:.3g} {unit}" for value in (rate.median, rate.least, rate.most))
