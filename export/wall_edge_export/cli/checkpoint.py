"""``wall-edge checkpoint``: plugged into the command line, so that the robot side never imports torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from wall_edge.cli.output import stderr
from wall_edge.errors import ConfigError
from wall_edge.signals import interruptible
from wall_edge_export.reference.random_shapes import SHAPES, named_shape

app = typer.Typer(help="Checkpoints: make one for measuring.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep ``random`` a command of its own while it is the only one."""


@app.command("random")
def random_checkpoint(
    shape: Annotated[str, typer.Argument(help=f"One of {', '.join(SHAPES)}.")],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    dtype: Annotated[str, typer.Option(help="bf16 or fp32.")] = "bf16",
) -> None:
    """Write a checkpoint of random weights: the size and speed of a model, none of its skill."""
    # torch takes seconds to import: only once the arguments are known to be good.
    named_shape(shape)
    try:
        from wall_edge_export.reference.random_checkpoint import write_random_checkpoint
    except ImportError as error:
        raise ConfigError(
            f"checkpoint needs {error.name}",
            expected="the exporter's packages",
            fix="pip install 'wall-edge[export]'",
        ) from error

    start = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with interruptible(), Progress(*columns, console=stderr) as progress:
        task = progress.add_task(shape)
        written = write_random_checkpoint(
            shape,
            out,
            seed=seed,
            dtype=dtype,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    seconds = time.monotonic() - start
    size = f"{written.parameters / 1e6:,.1f} M parameters, {written.bytes / 1e6:,.1f} MB {dtype}"
    print(f"wrote {out}: {shape}, {size} in {seconds:.1f} s")
