"""A folder that a bundle is being copied into: what is there, what is missing, what is damaged."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from wall_edge.bundle import DIGEST, MANIFEST, Bundle, file_digest
from wall_edge.deploy.messages import FileEntry


def offered(bundle: Bundle) -> dict[str, FileEntry]:
    """All files of a bundle whose digests were just checked; the manifest's own among them."""
    digests = {**bundle.manifest.files, MANIFEST: bundle.digest}
    digests[DIGEST] = file_digest(bundle.folder / DIGEST)
    entries = {name: FileEntry((bundle.folder / name).stat().st_size, digests[name]) for name in digests}
    bundle.require_unchanged()
    return entries


def survey(folder: Path, files: Mapping[str, FileEntry]) -> dict[str, int]:
    """The files that are not all there, with the bytes that are; makes the folder, removes what is strange.

    A file of the right size may still be damaged: :func:`remove_damaged` when its digest says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
        elif path.name not in files or path.stat().st_size > files[path.name].bytes:
            path.unlink()
        else:  # of a read-only file, only root could write the rest of a copy that was broken off
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    return {
        name: sizes.get(name, 0)
        for name, entry in files.items()
        if name not in sizes or sizes[name] < entry.bytes
    }


def remove_damaged(folder: Path, files: Mapping[str, FileEntry]) -> list[str]:
    """The files of another digest, which are gone then."""
    damaged = [
        name
        for name, entry in files.items()
        if (folder / name).is_file() and file_digest(folder / name) != entry.sha256
    ]
    for name in damaged:
        (folder / name).unlink()
    return damaged


def bytes_there(folder: Path) -> int:
    """What has arrived."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
