"""``wall-edge config``: ROBOT.yaml itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wall_edge.cli.output import write_new
from wall_edge.config.document.migration import commented_lines, migrated
from wall_edge.errors import plural
from wall_edge.files import shown

app = typer.Typer(help="ROBOT.yaml itself.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """ROBOT.yaml itself."""


@app.command()
def migrate(
    robot: Annotated[Path, typer.Argument(help="ROBOT.yaml of the first edition ('drive: …').")],
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of printing.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite it.")] = False,
) -> None:
    """Print ROBOT.yaml in the second edition: 'simulated', 'drives' and 'joints' instead of 'drive'.

    The result is the same robot: it is loaded and compared. Comments are not carried over. Files of the first
    edition go on working, so nothing has to be migrated.
    """
    text = migrated(robot, out)
    if out is None:
        print(text, end="")
    else:
        write_new(out, text, force=force)
    if lost := commented_lines(robot):
        print(
            f"note: {plural(lost, 'comment line')} of {shown(robot)}: comments are not carried over",
            file=sys.stderr,
        )
