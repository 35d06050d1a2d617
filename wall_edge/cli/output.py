"""What commands share when they print: results on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from wall_edge.atomic import atomic_write
from wall_edge.cli.console import SafeConsole, discard
from wall_edge.errors import ConfigError
from wall_edge.files import shown
from wall_edge.signals import interruption_point

stderr = SafeConsole(stderr=True)

_DRAW_S = 0.2
_PATIENCE_S = 2.0
"""How long a terminal that takes nothing (Ctrl-S, a pipe nobody reads) may keep us at the end."""


def require_new(path: Path, *, force: bool) -> None:
    """That no file would be overwritten that nobody said to. Raises ConfigError."""
    if path.exists() and not force:
        raise ConfigError(f"{shown(path)} exists", expected="a new file", fix="add --force to overwrite it")


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file that is not there yet, or with ``force`` another one. Raises ConfigError."""
    require_new(path, force=force)
    try:
        atomic_write(path, text)
    except OSError as problem:
        raise ConfigError(f"{shown(path)}: {problem.strerror}", expected="a place to write to") from None


class Display:
    """One line on stderr that changes, drawn by a thread of its own.

    A terminal that takes no more output keeps that thread, and nobody else.
    """

    def __init__(self, text: str) -> None:
        self.line = Text(text)
        """What is shown from the next drawing on."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="display", daemon=True)

    @property
    def stuck(self) -> bool:
        """Whether the terminal still keeps the thread."""
        return self._thread.is_alive()

    def _draw(self) -> None:
        # A terminal that went away takes no more output.
        with (
            contextlib.suppress(OSError, ValueError),
            Live(self.line, console=stderr, auto_refresh=False, transient=True) as live,
        ):
            while not self._ended.wait(_DRAW_S):
                live.update(self.line, refresh=True)

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_PATIENCE_S)


def last_words(code: int, results: Sequence[str], errors: Sequence[str] = (), *, stuck: bool = False) -> None:
    """Lines for stdout and stderr, then the end with exit code ``code``.

    An output that takes nothing is left after two seconds: what the arm did does not wait for a reader.
    """
    thread = threading.Thread(target=_say, args=(results, errors), name="last words", daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    if stuck or thread.is_alive():  # Python's own end would wait for that thread, or for what it holds
        os._exit(code)
    if code:
        raise typer.Exit(code)


def _say(results: Sequence[str], errors: Sequence[str]) -> None:
    for stream, lines in ((sys.stderr, errors), (sys.stdout, results)):
        try:
            for line in lines:
                print(line, file=stream)
            stream.flush()
        except (OSError, ValueError):  # gone; Python's end must not try again
            discard(stream)


@contextmanager
def stage_progress(title: str, stages: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """A bar over named stages; the function it gives is told each stage as it starts.

    Any other text is shown as a detail of the stage that runs.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[stage]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr) as progress:
        task = progress.add_task(title, total=len(stages), stage="")
        position = {stage: number for number, stage in enumerate(stages)}

        def started(stage: str) -> None:
            interruption_point()
            progress.update(task, completed=position.get(stage), stage=stage)

        yield started
        progress.update(task, completed=len(stages), stage="done")
