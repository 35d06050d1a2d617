"""Where a robot keeps its bundles.

::

    PLACE/current            → bundles/DIGEST, a relative link: what ROBOT.yaml names
    PLACE/bundles/DIGEST     whole bundles; beside each DIGEST.engines and DIGEST.json, its activation
    PLACE/incoming/DIGEST    one that is being copied
    PLACE/.lock              locked by whoever writes here

``current`` changes by the rename of a new link over it (rename(2) is atomic), after all that it leads to is
on the disk: it is the old bundle or the new one, whenever power or process goes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wall_edge.atomic import sync
from wall_edge.bundle import Bundle
from wall_edge.errors import BundleError, ConfigError
from wall_edge.files import shown

PATIENCE_S = 100.0
"""For a lock: a workstation that went away without a word is missed after a minute."""
_POLL_S = 0.2


class Place:
    """The folder and what lies in it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.current, self.bundles = self.root / "current", self.root / "bundles"
        self.incoming = self.root / "incoming"

    @contextmanager
    def alone(
        self, told: Callable[[str], None] = lambda _: None, patience_s: float = PATIENCE_S
    ) -> Iterator[None]:
        """Nobody else writes here meanwhile. Raises :class:`ConfigError` when another does for too long."""
        self._require_link()
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as lock:
            deadline = time.monotonic() + patience_s
            while not _locked(lock.fileno()):
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"{shown(self.root)}: another deploy or activate is at work there",
                        fix="wait for it, then run the same command again",
                    )
                told("waiting for another deploy")
                time.sleep(_POLL_S)
            yield

    def now(self) -> Path | None:
        """The folder that ``current`` leads to."""
        return real(self.current) if self.current.is_symlink() else None

    def settle(self, bundle: Bundle) -> Bundle:
        """Where an opened bundle lies from now on: one in ``incoming`` goes to ``bundles``, on the disk.

        Any other stays where it is. If that digest is in ``bundles`` already, whole, it is that one, which a
        daemon may have open; a damaged one makes room.
        """
        for path in (*bundle.folder.iterdir(), bundle.folder):
            sync(path)
        if bundle.folder.parent != real(self.incoming):
            return bundle
        if (there := self.whole(bundle.digest)) is not None:
            shutil.rmtree(bundle.folder)
            return there
        self.bundles.mkdir(exist_ok=True)
        target = real(self.bundles) / bundle.digest
        damaged = self.incoming / f"{bundle.digest}.damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        if target.exists():
            target.rename(damaged)
        bundle.folder.rename(target)
        bundle.folder = target  # the files are the same ones: what the check learned of them still holds
        sync(target.parent)
        shutil.rmtree(damaged, ignore_errors=True)
        return bundle

    def whole(self, digest: str) -> Bundle | None:
        """The bundle of this digest in ``bundles``, if it is there and undamaged."""
        folder = real(self.bundles) / digest
        try:
            opened = Bundle(folder) if folder.is_dir() else None
        except BundleError:
            return None
        return opened if opened is not None and opened.digest == digest else None

    def switch(self, folder: Path) -> None:
        """From now on ``current`` leads to ``folder``."""
        root = real(self.root)
        link = root / ".current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(folder, root))
        link.replace(self.current)
        sync(root)

    def prune(self, keep: int, previous: Path | None) -> list[Path]:
        """Remove all but ``keep`` bundles of ``bundles``, and what copies left; those removed.

        What stays: the current one, ``previous``, those that verified last; and never one is removed that a
        daemon has open (:meth:`wall_edge.bundle.Bundle.hold`).
        """
        current = self.now()
        others = [path for path in self._folders() if path != current]
        others.sort(key=lambda path: (path == previous, _verified_ns(path)), reverse=True)
        removed = [path for path in others[max(0, keep - 1) :] if _removed(path)]
        for path in self.incoming.glob("*"):
            shutil.rmtree(path, ignore_errors=True)
        return removed

    def in_use(self, folder: Path) -> bool:
        """Whether a daemon has this bundle open."""
        with _unused(folder) as unused:
            return not unused

    def _folders(self) -> list[Path]:
        bundles = real(self.bundles)
        if not bundles.is_dir():
            return []
        return [path for path in bundles.iterdir() if path.is_dir() and path.suffix != ".engines"]

    def _require_link(self) -> None:
        if os.path.lexists(self.current) and not self.current.is_symlink():
            raise ConfigError(
                f"{shown(self.current)}: not a link",
                expected="a link that 'wall-edge activate' made, or nothing",
                fix="choose another --at, or move it away",
            )


def real(folder: Path) -> Path:
    """Absolute and without links: as the place compares folders. An opened bundle must be by this name."""
    return Path(os.path.realpath(folder))


def record_path(folder: Path) -> Path:
    """The activation's record beside a bundle: it has verified here."""
    return folder.with_name(f"{folder.name}.json")


def _verified_ns(folder: Path) -> int:
    try:
        return record_path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def _removed(folder: Path) -> bool:
    with _unused(folder) as unused:
        if not unused:
            return False
        record_path(folder).unlink(missing_ok=True)
        shutil.rmtree(folder.with_name(f"{folder.name}.engines"), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    """Whether nobody has the bundle open; then nobody opens it before this is over."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield True
        return
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
