"""Virtual environments of a benchmark's peers: made and filled on the first call, kept after."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from wall_edge.cli.output import stderr
from wall_edge.errors import ConfigError

_MARKER = "wall-edge-peer.txt"


def environment(folder: Path, name: str, installs: Sequence[Sequence[str]]) -> Path:
    """The interpreter of ``folder``, where ``pip install`` has run once for each of ``installs``."""
    python, marker = folder / "bin" / "python", folder / _MARKER
    wanted = "\n".join(" ".join(arguments) for arguments in installs)
    if marker.is_file() and marker.read_text() == wanted:
        return python
    if folder.exists() and not (folder.is_dir() and _is_environment(folder)):
        raise ConfigError(f"{folder}: exists and is no virtual environment", fix="choose another folder")
    stderr.print(f"installing {name} into {folder}", highlight=False, soft_wrap=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    for arguments in installs:
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])
    marker.write_text(wanted)
    return python


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file() or not any(folder.iterdir())


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, stdout=sys.stderr, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"{' '.join(command)}: {error}",
            expected="the peer's packages from an index",
            fix="run where a package index can be reached",
        ) from error
