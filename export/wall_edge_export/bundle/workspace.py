"""Where an export grows: a hidden folder beside the bundle, kept when interrupted, so that a rerun resumes.

``.NAME.partial`` holds the bundle's files as they are finished and ``journal.json``, which lists finished
steps with their files' SHA-256; ``.NAME.lock`` beside it keeps a second export out. The journal's key says
which checkpoint, recipe, data, settings and code the files are of; an export with another key starts afresh.
The bundle itself appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wall_edge.atomic import atomic_write, leftovers, sync
from wall_edge.bundle import MANIFEST, file_digest, put_in_place, replaced_name, require_replaceable
from wall_edge.errors import BundleError
from wall_edge.signals import stop_flag

_JOURNAL, SCRATCH = "journal.json", "scratch"


class Workspace:
    """Finished steps of one export. Use :func:`workspace` to open one."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self._key = folder, key
        for path in leftovers(folder / _JOURNAL):  # the bundle must not hold what a killed run left
            path.unlink()
        self._steps: dict[str, dict[str, str]] = self._read()
        self.resumed = sorted(self._steps)
        self._write()

    @property
    def scratch(self) -> Path:
        """A folder for what the bundle will not hold."""
        path = self.folder / SCRATCH
        path.mkdir(exist_ok=True)
        return path

    def step(self, name: str, work: Callable[[], dict[str, str]]) -> None:
        """Do a step unless an earlier run has; ``work`` gives its files' SHA-256 by name."""
        if name not in self._steps:
            digests = work()
            for file in digests:
                sync(self.folder / file)  # the journal must never promise what a power cut would lose
            self._steps[name] = digests
            self._write()

    def digests(self) -> dict[str, str]:
        """SHA-256 of every finished file of the bundle."""
        files = {name: digest for step in self._steps.values() for name, digest in step.items()}
        return {name: files[name] for name in sorted(files) if not name.startswith(f"{SCRATCH}/")}

    def _read(self) -> dict[str, dict[str, str]]:
        """Steps of an earlier run with the same key whose files are whole; anything else is cleared away."""
        try:
            journal = json.loads((self.folder / _JOURNAL).read_text())
            steps: dict[str, dict[str, str]] = journal["steps"]
            if journal["key"] == self._key:
                return {name: files for name, files in steps.items() if self._whole(files)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return {}

    def _whole(self, files: dict[str, str]) -> bool:
        paths = {self.folder / name: digest for name, digest in files.items()}
        return all(path.is_file() and file_digest(path) == digest for path, digest in paths.items())

    def _write(self) -> None:
        journal = json.dumps({"key": self._key, "steps": self._steps})
        atomic_write(self.folder / _JOURNAL, journal, durable=True)


def partial_folder(out: Path) -> Path:
    """Where the bundle ``out`` grows."""
    out = out.resolve()
    return out.with_name(f".{out.name}.partial")


@contextmanager
def workspace(out: Path, key: str) -> Iterator[Workspace]:
    """A workspace that becomes the bundle ``out`` when the block ends without an error.

    An earlier bundle at ``out`` is replaced; any other file or non-empty folder is refused, and so is a
    second export to the same place. What the system refuses (no room) is a :class:`BundleError` too.
    """
    with system_errors(out):
        out = out.resolve()
        require_replaceable(out)
        folder = partial_folder(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with _locked(out.with_name(f".{out.name}.lock")):
            _recover(folder, out)
            _require_ours(folder)
            folder.mkdir(exist_ok=True)
            space = Workspace(folder, key)
            yield space
            _finish(folder, out)


def _finish(folder: Path, out: Path) -> None:
    """Make the files durable, then rename; no signal may fall between the two names.

    Blocked signals would not do: a thread of torch's takes them, and Python interrupts this one all the same.
    """
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    for path in folder.iterdir():
        sync(path)
    with stop_flag() as stopped:
        (folder / _JOURNAL).unlink()
        put_in_place(folder, out)
    if stopped():
        raise KeyboardInterrupt


def _recover(folder: Path, out: Path) -> None:
    """Put back a bundle that a killed run had set aside and not replaced yet."""
    old = replaced_name(folder)
    if old.is_dir() and not out.exists():
        old.rename(out)


def _require_ours(folder: Path) -> None:
    """Never clear a folder that no export made."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder}: is no folder of an export", fix="remove it, or choose another --out")
    traces = (folder / _JOURNAL, folder / MANIFEST, *leftovers(folder / _JOURNAL))
    if folder.is_dir() and any(folder.iterdir()) and not any(path.is_file() for path in traces):
        names = ", ".join(sorted(path.name for path in folder.iterdir())[:3])
        raise BundleError(
            f"{folder}: holds {names} and no {_JOURNAL}",
            expected="the folder of an interrupted export",
            fix="remove it, or choose another --out",
        )


@contextmanager
def system_errors(out: Path) -> Iterator[None]:
    """What the system refuses becomes one :class:`BundleError` that names the file."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{error.filename or out}: {error.strerror or error}",
            expected="a folder that can be written",
            fix="check the path, its permissions and the room on its disk; a rerun resumes",
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file, which is removed at the end while it is still held."""
    descriptor = _lock(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    """A locked descriptor of the file that has this name now.

    Its last holder may have removed it between the opening and the lock: then the lock is on a file without a
    name, which keeps nobody out, and the next one there is tried.
    """
    while True:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(descriptor, path):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise BundleError(
                f"{path}: another export is writing there", fix="wait for it, or choose another --out"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def require_room(out: Path, needed: int) -> None:
    """Raise :class:`BundleError` unless the disk has ``needed`` bytes for ``out``.

    What an interrupted run has left counts as free: it is used again or cleared.
    """
    out = out.resolve()
    existing = next(path for path in out.parents if path.exists())
    reusable = [path.stat().st_size for path in partial_folder(out).rglob("*") if path.is_file()]
    free = shutil.disk_usage(existing).free + sum(reusable)
    if free < needed:
        raise BundleError(
            f"{existing}: {free / 1e9:.2f} GB free",
            expected=f"{needed / 1e9:.2f} GB for the bundle",
            fix="free some room, or choose another --out or --precision",
        )
