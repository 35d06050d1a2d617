"""``wall-edge motors``: the motors one by one, without a policy."""

import typer

from wall_edge.cli.motors.calibrate import calibrate
from wall_edge.cli.motors.jog import jog
from wall_edge.cli.motors.monitor import monitor
from wall_edge.cli.motors.scan import scan
from wall_edge.cli.motors.set_id import set_id
from wall_edge.cli.motors.watch import watch

app = typer.Typer(
    help="Look for motors, watch, number, calibrate and move them one by one; log their buses.",
    no_args_is_help=True,
)


@app.callback()
def motors() -> None:
    """The motors one by one, without a policy. Nothing is powered but by ``jog``."""


app.command()(scan)
app.command("set-id")(set_id)
app.command()(calibrate)
app.command()(jog)
app.command()(watch)
app.command()(monitor)
