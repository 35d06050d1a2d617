"""``wall-edge bench``: what this machine can do, measured beside what others use."""

import typer

from wall_edge.cli.machine.bench.bus import bus
from wall_edge.cli.machine.bench.loop import loop
from wall_edge.cli.machine.bench.policy import policy

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure what this machine can do, beside what others use."""


app.command()(bus)
app.command()(loop)
app.command()(policy)
