"""What commands share when they print: results on stdout, progress on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .console import SafeConsole

stderr = SafeConsole(stderr=True)


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
            progress.update(task, completed=position.get(stage), stage=stage)

        yield started
        progress.update(task, completed=len(stages), stage="done")
