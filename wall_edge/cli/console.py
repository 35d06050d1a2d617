"""Text from files on its way to a terminal: escaped here, once, whatever prints it.

Names come out of bundles and YAML files: rich would take ``[/bold]`` in them for markup, a terminal would
obey their control codes, an ASCII stdout would end in a traceback.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from wall_edge.errors import printable


class SafeConsole(Console):
    """A console that takes text for text: no markup, no emoji names, no control codes.

    Styles that our own code asks for (``style=``, progress bars) work as ever.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Cells, titles and printed strings all come through here."""
        return super().render_str(_clean(text), **options)


def _clean(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Output that cannot be spelt is escaped; output that cannot be written ends in one line and code 1.

    A reader that went away (``| head``) is no error of ours to tell: code 1 without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        sys.exit(1)
    except OSError as problem:
        where = printable(str(problem.filename)) if problem.filename else "output"
        discard(sys.stdout)
        with contextlib.suppress(OSError):
            print(f"error: {where}: {problem.strerror or problem}", file=sys.stderr)
        sys.exit(1)


def discard(stream: TextIO) -> None:
    """What a stream still holds goes nowhere, so that Python's end does not try it again."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
