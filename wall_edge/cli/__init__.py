"""The ``wall-edge`` command: one file a command, imported when it is called (``commands.py``)."""

from __future__ import annotations

import sys

# Nothing else here: until main() runs, Ctrl-C is a traceback.
from wall_edge.errors import WallEdgeError
from wall_edge.signals import INTERRUPTED, unhold

HOLDING = (["run"], ["release"])
"""Commands that drive an arm: signals wait (``__main__.py``) until they have set handlers of their own."""


def __getattr__(name: str) -> object:
    """``app``, the :class:`typer.Typer` with all commands, which takes time to import."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wall_edge.cli.commands import app

    return app


def main() -> None:
    """Entry point: an error a user can act on is one line on stderr and exit code 1.

    Ctrl-C that a command does not handle itself, during the imports too, is one line and exit code 130.
    """
    try:
        if sys.argv[1:2] not in HOLDING:
            unhold()
        from wall_edge.cli.commands import app
        from wall_edge.cli.console import safe_output

        with safe_output():
            try:
                app()
            except WallEdgeError as error:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
