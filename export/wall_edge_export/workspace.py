"""Where an export grows: a hidden folder beside the bundle, kept when interrupted, so that a rerun resumes.

``.NAME.partial`` holds the bundle's files as they are finished and ``journal.json``, which lists finished
steps with their files' SHA-256. Its key says which checkpoint, recipe, data and settings the files are of; an
export with another key starts afresh. The bundle itself appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wall_edge.bundle import put_in_place, require_replaceable
from wall_edge.errors import BundleError

_JOURNAL, _LOCK, SCRATCH = "journal.json", "lock", "scratch"


class Workspace:
    """Finished steps of one export. Use :func:`workspace` to open one."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self._key = folder, key
        self._steps: dict[str, dict[str, str]] = self._read()
        self.resumed = sorted(self._steps)

    @property
    def scratch(self) -> Path:
        """A folder for what the bundle will not hold."""
        path = self.folder / SCRATCH
        path.mkdir(exist_ok=True)
        return path

    def step(self, name: str, work: Callable[[], dict[str, str]]) -> None:
        """Do a step unless an earlier run has; ``work`` gives its files' SHA-256 by name."""
        if name not in self._steps:
            self._steps[name] = work()
            self._write()

    def digests(self) -> dict[str, str]:
        """SHA-256 of every finished file of the bundle."""
        files = {name: digest for step in self._steps.values() for name, digest in step.items()}
        return {name: files[name] for name in sorted(files) if not name.startswith(f"{SCRATCH}/")}

    def _read(self) -> dict[str, dict[str, str]]:
        """Steps of an earlier run with the same key; anything else is cleared away."""
        try:
            journal = json.loads((self.folder / _JOURNAL).read_text())
            steps: dict[str, dict[str, str]] = journal["steps"]
            files = [name for step in steps.values() for name in step]
            if journal["key"] == self._key and all((self.folder / name).is_file() for name in files):
                return steps
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return {}

    def _write(self) -> None:
        new = self.folder / f"{_JOURNAL}.new"
        new.write_text(json.dumps({"key": self._key, "steps": self._steps}))
        new.rename(self.folder / _JOURNAL)


@contextmanager
def workspace(out: Path, key: str) -> Iterator[Workspace]:
    """A workspace that becomes the bundle ``out`` when the block ends without an error.

    An earlier bundle at ``out`` is replaced; any other file or non-empty folder is refused, and so is a
    second export to the same place. What the system refuses (no room) is a :class:`BundleError` too.
    """
    out = out.resolve()
    try:
        require_replaceable(out)
        folder = out.parent / f".{out.name}.partial"
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / _LOCK):
            space = Workspace(folder, key)
            yield space
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)
            for name in (_JOURNAL, _LOCK):  # the lock last: whoever holds one may clear the folder
                (folder / name).unlink()
            put_in_place(folder, out)
    except OSError as error:
        raise BundleError(
            f"{out}: {error.strerror or error}",
            expected="a folder that can be written",
            fix="check the path, its permissions and the room on its disk; a rerun resumes",
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BundleError(
                f"{path.parent}: another export is writing there", fix="wait for it, or choose another --out"
            ) from error
        yield
    finally:
        os.close(descriptor)


def require_room(folder: Path, needed: int) -> None:
    """Raise :class:`BundleError` unless the disk of ``folder`` has ``needed`` bytes to spare."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise BundleError(
            f"{existing}: {free / 1e9:.2f} GB free",
            expected=f"{needed / 1e9:.2f} GB for the bundle",
            fix="free some room, or choose another --out or --precision",
        )
