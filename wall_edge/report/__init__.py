"""One HTML file about a run. Raises ConfigError when imported without matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wall_edge.atomic import atomic_write
from wall_edge.errors import ConfigError
from wall_edge.report.page import render
from wall_edge.runtime.telemetry.run_log import RunLog


def write_report(record: RunLog, summary: dict[str, Any], path: Path, facts: dict[str, str]) -> None:
    """Writes ``path`` at once or not at all: one self-contained HTML file.

    ``summary`` is the demo's JSON object, ``facts`` (name → text) are the machine, the versions, the date.
    Raises ConfigError when the file cannot be written.
    """
    content = render(record, summary, facts).encode(errors="replace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror or error}", fix="name another file"
        ) from error
