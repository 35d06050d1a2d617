"""The ``wall-edge`` command: one file a command."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer

from wall_edge.errors import WallEdgeError

from .bench import app as bench
from .clear import clear
from .console import safe_output
from .demo import demo
from .evaluate import evaluation
from .inspect import inspect
from .run import run
from .verify import verify

__all__ = ["app", "main"]

_PLUGINS = "wall_edge.commands"


def build_app() -> typer.Typer:
    """The robot side's commands, and those that other installed rooms plug in (``export`` …)."""
    made = typer.Typer(
        name="wall-edge",
        help="From a WALL-OSS checkpoint to a moving arm.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for command in (clear, demo, inspect, run, verify):
        made.command()(command)
    made.command(name="eval")(evaluation)
    made.add_typer(bench, name="bench")
    for plugin in entry_points(group=_PLUGINS):
        loaded = plugin.load()
        if isinstance(loaded, typer.Typer):
            made.add_typer(loaded, name=plugin.name)
        else:
            made.command(name=plugin.name)(loaded)
    return made


app = build_app()


def main() -> None:
    """Entry point: an error a user can act on is one line on stderr and exit code 1."""
    with safe_output():
        try:
            app()
        except WallEdgeError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
