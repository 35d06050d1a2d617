"""``wall-edge motors``: the motors themselves, and what passes on their buses."""

import typer

from wall_edge.cli.motors.monitor import monitor

app = typer.Typer(help="The motors themselves, and what passes on their buses.", no_args_is_help=True)


@app.callback()
def motors() -> None:
    """The motors themselves, and what passes on their buses."""


app.command()(monitor)
