"""``wall-edge bench policy``: how long a bundle's policy takes here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wall_edge.bundle import MAX_STEPS, Bundle
from wall_edge.cli.output import stage_progress
from wall_edge.signals import interruptible


def policy(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    engine: Annotated[str, typer.Option(help="What runs the graphs.")] = "onnxruntime",
    device: Annotated[
        str | None, typer.Option(help="Where: cpu, cuda or cuda:N; without it cpu, for tensorrt cuda.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Inference threads, on a cpu.", min=1)] = 2,
    repeats: Annotated[int, typer.Option(help="Chunks that are timed; 100 make a p99.", min=1)] = 100,
    steps: Annotated[
        int | None, typer.Option(help="Integration steps; the bundle's without it.", min=1, max=MAX_STEPS)
    ] = None,
    instruction: Annotated[str | None, typer.Option(help="Words that the prompt holds.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Predict for it: a name, or what wall-edge probe --out wrote (.yaml).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """How long an action chunk takes, from raw frames to joint positions, and each of its stages.

    Beside it: memory, power where it can be read, what was predicted, whether attention is fused, and
    whether the figures can be compared with others at all.
    """
    from wall_edge_engines import EngineSettings

    from wall_edge.bench.policy.measure import STAGES, measure
    from wall_edge.bench.policy.run import Options
    from wall_edge.cli.machine.bench.policy_text import print_report

    usual = "cuda" if engine.startswith("tensorrt") else "cpu"
    settings = EngineSettings(engine, usual if device is None else device, threads)
    words = Options.instruction if instruction is None else instruction
    options = Options(repeats=repeats, steps=steps, instruction=words)
    with interruptible(), stage_progress("policy", ("digests", *STAGES)) as stage:
        stage("digests")
        report = measure(Bundle(bundle), settings, options, target, told=stage)
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        print_report(report)
