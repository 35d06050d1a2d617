"""Files that appear whole or not at all: written under another name beside their place, then renamed."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from errno import EINVAL, EROFS
from pathlib import Path
from typing import BinaryIO


def atomic_write(
    path: Path, content: bytes | str | Callable[[BinaryIO], object], *, durable: bool = False
) -> None:
    """Write ``content`` to ``path`` so that no reader, and no crash, ever sees half of it.

    ``content``: bytes, text (as UTF-8), or what writes into the open file that it is called with.
    ``durable``: the bytes are on the disk before the name is theirs, for what must outlive a power cut.
    Two processes never share a temporary: its name has the process id in it. Raises OSError,
    and what ``content`` raises; then ``path`` is as it was and the temporary is gone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            _write(file, content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Temporaries of ``path`` that a killed process could not remove, or that one is writing now."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))


def sync(path: Path) -> None:
    """Wait until the disk has the file's content; of a folder, the names in it. Raises OSError.

    Not where there is nothing to wait for: fsync(2) says EINVAL or EROFS of what cannot be synchronized, as a
    bundle on a read-only image is.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as refusal:
        if refusal.errno not in (EINVAL, EROFS):
            raise
    finally:
        os.close(descriptor)


def _write(file: BinaryIO, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)
