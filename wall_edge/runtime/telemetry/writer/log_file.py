"""The file of the event log: appended to, rotated by size, found again by a writer that takes over."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wall_edge.errors import ConfigError
from wall_edge.runtime.telemetry.event_log import numbered

MAX_BYTES, FILES = 32 * 1024 * 1024, 20
"""A file's size and how many are kept: a day of a robot at work is about 530 MB."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True)
class Position:
    """The end of what was written: in which file, whatever it is called by now, and how far."""

    device: int
    inode: int
    offset: int


class LogFile:
    """Blocks of whole lines at the end of ``path``; at ``max_bytes`` it becomes ``path.1`` and so on.

    Each block reaches the kernel at once; nothing here waits for more than the disk. Raises ConfigError when
    the file does not open, OSError when a block cannot be written.
    """

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES, files: int = FILES) -> None:
        self.path, self.max_bytes, self._files = Path(path), max_bytes, files
        try:
            self._fd = _opened(self.path)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{path}: {getattr(error, 'strerror', None) or error}",
                expected="a file that can be appended to",
                fix="choose another path",
            ) from error
        self.regular = stat.S_ISREG(os.fstat(self._fd).st_mode)

    @property
    def position(self) -> Position:
        """Where the next block begins."""
        status = os.fstat(self._fd)
        return Position(status.st_dev, status.st_ino, status.st_size)

    def append(self, block: bytes) -> None:
        """Whole lines, no more than ``max_bytes`` of them; all of the block, or nothing and OSError."""
        size = self.position.offset
        if self.regular and size and size + len(block) > self.max_bytes:
            self._rotate()
            size = 0
        try:
            while block:
                block = block[os.write(self._fd, block) :]
        except OSError:
            self._cut(size)
            raise

    def _cut(self, size: int) -> None:
        if self.regular:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, size)

    def _rotate(self) -> None:
        numbers = range(1, self._files)
        gap = next((n for n in numbers if not numbered(self.path, n).exists()), self._files - 1)
        if not self.path.exists():  # it was moved already, and then its successor could not be opened
            gap = 0
        for number in range(gap, 0, -1):  # up to the first gap, which a writer killed at this leaves
            numbered(self.path, number - 1).replace(numbered(self.path, number))
        fresh = _opened(self.path)
        os.close(self._fd)
        self._fd = fresh

    def lines_since(self, position: Position) -> Iterator[bytes]:
        """The whole lines that were written after ``position``, in this file and those that came after it."""
        if not self.regular:
            return
        files = [numbered(self.path, number) for number in range(self._files)]
        for number, path in enumerate(files):
            if _is_at(path, position):
                yield from _lines(path, position.offset)
                for newer in reversed(files[:number]):
                    yield from _lines(newer, 0)
                return

    def mend(self, since: Position | None) -> None:
        """Ends the last line, if a process died in it: cut if written after ``since``, else by a line break.

        What was cut is in a ring still; what others left stays for people to see.
        """
        if not self.regular:
            return
        ours = since.offset if since is not None and _is_at(self.path, since) else 0
        start = max(0, self.position.offset - 1) if since is None else ours
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                tail = file.read()
        except OSError:  # it may be appended to, but not read
            return
        if not tail or tail.endswith(b"\n"):
            return
        if since is None:
            os.write(self._fd, b"\n")
        else:
            os.ftruncate(self._fd, start + tail.rfind(b"\n") + 1)

    def lasting_path(self) -> Path:
        """For another process, while this is open: of a pipe, which may have no name there, this very one."""
        return self.path if self.regular else Path(f"/proc/{os.getpid()}/fd/{self._fd}")

    def close(self) -> None:
        """Nothing follows."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


def _opened(path: Path) -> int:
    """Opening waits for nobody: a pipe without a reader is an error."""
    descriptor = os.open(path, _FLAGS, 0o644)
    os.set_blocking(descriptor, True)
    return descriptor


def _is_at(path: Path, position: Position) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (position.device, position.inode)


def _lines(path: Path, offset: int) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        yield from (line for line in file if line.endswith(b"\n"))
