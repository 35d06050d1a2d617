"""One bounded way to read a file that came from elsewhere.

Every reader of the project goes through here: a regular file (never a FIFO or a device, which block or never
end), no larger than its kind has any reason to be, JSON and YAML of bounded depth, digits and aliases, no key
twice, arrays no larger than their file. What is wrong becomes one line of the caller's kind of error.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn, TypeVar

import numpy as np
import yaml

from wall_edge.array_types import Array
from wall_edge.errors import WallEdgeError, printable, shortened

TEXT_BYTES = 4 << 20
"""More than any configuration, word list or line file needs."""
JSON_BYTES = 24 << 20
"""A tokenizer takes 12 MB; JSON of empty lists takes 20 times as much memory as text."""
YAML_BYTES = 128 << 10
"""PyYAML reads some 100 kB a second."""
ARRAY_BYTES = 512 << 20
"""Goldens and recorded moments, inflated."""

_DEPTH = 64
_NODES = 50_000
_DIRECTORY_BYTES = 1 << 20
_DIGITS = 400
"""The longest plain spelling of a float64 has 309 digits before the point."""


@contextlib.contextmanager
def open_regular(
    path: Path, error: type[WallEdgeError], limit: int = ARRAY_BYTES, fix: str = ""
) -> Iterator[BinaryIO]:
    """The file, open and checked on that descriptor: regular, and of at most ``limit`` bytes.

    ``fix`` ends the message of ``error``: what to do about a file of this kind.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        _unreadable(path, problem, error, fix)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise error(f"{shown(path)}: {kind}", expected="a plain file", fix=fix)
        if status.st_size > limit:
            raise error(f"{shown(path)}: {status.st_size} bytes", expected=f"at most {limit}", fix=fix)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def require_folder(path: Path, error: type[WallEdgeError], expected: str, fix: str = "") -> None:
    """Raise ``error`` unless there is a folder: whoever mistyped its path is not to look for a file in it."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - one error for all that a name can be
            return
        reason = "not a folder"
    except FileNotFoundError:
        reason = "no such folder"
    except (OSError, ValueError) as problem:
        reason = _reason(problem)
    raise error(f"{shown(path)}: {reason}", expected=expected, fix=fix)


def read_bytes(path: Path, error: type[WallEdgeError], limit: int = TEXT_BYTES, fix: str = "") -> bytes:
    """All bytes of a regular file of at most ``limit`` bytes. Raises ``error``."""
    with open_regular(path, error, limit, fix) as file:
        try:
            content = file.read(limit + 1)
        except OSError as problem:
            _unreadable(path, problem, error, fix)
    if len(content) > limit:  # it grew since its size was asked, or lies under /proc
        raise error(f"{shown(path)}: more than {limit} bytes", expected=f"at most {limit}", fix=fix)
    return content


def read_text(path: Path, error: type[WallEdgeError], limit: int = TEXT_BYTES, fix: str = "") -> str:
    """UTF-8 text; the byte order mark that Windows' editors write is dropped. Raises ``error``."""
    try:
        return read_bytes(path, error, limit, fix).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        what = f"{shown(path)}: not UTF-8 at byte {problem.start}"
        raise error(what, expected="UTF-8 text", fix=fix) from None


def read_json(path: Path, error: type[WallEdgeError], limit: int = TEXT_BYTES, fix: str = "") -> Any:
    """The plain data in a JSON file. Raises ``error``."""
    return parse_json(read_text(path, error, limit, fix), shown(path), error, fix)


def parse_json(text: str, where: str, error: type[WallEdgeError], fix: str = "") -> Any:
    """Plain data; ``where`` begins the message. Raises ``error``, also for a key twice or absurd digits."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_int=_whole)
    except RecursionError:
        raise error(f"{where}: nested too deeply", expected="valid JSON", fix=fix) from None
    except ValueError as problem:
        raise error(f"{where}: {problem}", expected="valid JSON", fix=fix) from None


def parse_yaml(text: str, where: str, error: type[WallEdgeError]) -> Any:
    """Plain data (YAML's safe types); ``where`` begins the message. Raises ``error``.

    Aliases count with all that they stand for: two hundred bytes of them can stand for gigabytes.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _Nodes(where, error).measure(root)
        return loader.construct_document(root)
    except WallEdgeError:
        raise
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise error(f"{where}: malformed YAML{place}: {problem.problem or problem.context}") from None
    except RecursionError:
        raise error(f"{where}: malformed YAML: nested too deeply") from None
    except Exception as problem:  # noqa: BLE001 - constructors of dates, numbers and binary raise whatever they meet
        raise error(f"{where}: malformed YAML: {problem}") from None


def read_arrays(
    path: Path, error: type[WallEdgeError], limit: int = ARRAY_BYTES, fix: str = ""
) -> dict[str, Array]:
    """The arrays of an npz by name; their CRCs are checked and no object is unpickled. Raises ``error``."""
    return _damaged_or(path, error, fix, "an npz", lambda: _archived(path, error, limit, fix))


def read_array(path: Path, error: type[WallEdgeError], limit: int = ARRAY_BYTES, fix: str = "") -> Array:
    """The array of an npy file. Raises ``error``."""

    def read() -> Array:
        with open_regular(path, error, limit, fix) as file:
            return _array(file, limit)

    return _damaged_or(path, error, fix, "an npy", read)


T = TypeVar("T")


def _damaged_or(path: Path, error: type[WallEdgeError], fix: str, kind: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except WallEdgeError:
        raise
    except Exception as problem:  # noqa: BLE001 - zipfile, zlib and numpy's header reader raise a dozen kinds
        raise error(
            f"{shown(path)}: damaged, or not {kind} ({type(problem).__name__}: {shown(problem, 120)})",
            expected="arrays without pickles",
            fix=fix,
        ) from None


def _archived(path: Path, error: type[WallEdgeError], limit: int, fix: str) -> dict[str, Array]:
    with open_regular(path, error, limit, fix) as file:
        _require_short_directory(file)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > limit:
                raise error(f"{shown(path)}: more than {limit} bytes when inflated", fix=fix)
            arrays = {}
            for member in members:
                with archive.open(member) as content:
                    arrays[member.filename.removesuffix(".npy")] = _array(content, member.file_size)
    if len(arrays) < len(members):
        raise ValueError("two arrays of one name")
    return arrays


def _require_short_directory(file: BinaryIO) -> None:
    """zipfile makes an object of every entry: a file of entries alone would take gigabytes.

    The end of the central directory (APPNOTE.TXT 4.3.16) says how large that is.
    """
    file.seek(0, os.SEEK_END)
    file.seek(-min(file.tell(), 22 + (1 << 16) + 20), os.SEEK_END)
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) - end < 22 or b"PK\6\7" in tail[max(0, end - 20) : end]:
        raise ValueError("no plain end of a zip archive")
    if int.from_bytes(tail[end + 12 : end + 16], "little") > _DIRECTORY_BYTES:
        raise ValueError("too many entries")
    file.seek(0)


def shown(value: object, length: int = 200) -> str:
    """A value for a message: on one line, printable, shortened in the middle."""
    try:
        text = value if isinstance(value, str) else str(value)
    except ValueError:  # a whole number of more digits than Python will spell
        text = "a number of thousands of digits"
    return printable(shortened(text, length))


def is_plain_name(name: str, also: str = "") -> bool:
    """Whether a name can go into a file name, a prompt and a terminal as it is: letters, digits, ``_-. ``.

    At most 64 characters, of which the first is a letter, a digit or ``_``; ``also``: further characters.
    """
    return re.fullmatch(rf"\w[\w .\-{re.escape(also)}]{{0,63}}", name) is not None and name == name.strip()


class _Nodes:
    """Refuses a YAML document for its depth, its expanded size, its digits or a key that stands twice."""

    def __init__(self, where: str, error: type[WallEdgeError]) -> None:
        self.where, self.error = where, error
        self._size: dict[int, int] = {}
        self._open: set[int] = set()

    def measure(self, node: yaml.Node, depth: int = 0) -> int:
        """How many nodes ``node`` stands for, aliases expanded."""
        if depth > _DEPTH:
            raise self._refused(node, f"nested deeper than {_DEPTH}")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._refused(node, "an alias inside of what it stands for")
        if id(node) not in self._size:
            self._open.add(id(node))
            self._size[id(node)] = 1 + sum(self.measure(child, depth + 1) for child in self._children(node))
            self._open.remove(id(node))
        if self._size[id(node)] > _NODES:
            raise self._refused(node, f"more than {_NODES} values, aliases expanded")
        return self._size[id(node)]

    def _scalar(self, node: yaml.ScalarNode) -> int:
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > _DIGITS:
            raise self._refused(node, f"a number of {len(node.value)} characters")
        return 1

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            return list(node.value)
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:  # YAML would keep the last; in a robot's limits that is a trap
                    line = node.start_mark.line + 1
                    raise self.error(
                        f"{self.where}: {shown(key.value)} appears twice below line {line}", expected="once"
                    )
                keys.add(key.value)
        return [child for pair in node.value for child in pair]

    def _refused(self, node: yaml.Node, what: str) -> WallEdgeError:
        return self.error(f"{self.where}: {what} at line {node.start_mark.line + 1}", expected="plain YAML")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys: set[str] = set()
        twice = next(key for key, _ in pairs if key in keys or keys.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{shown(twice, 64)} appears twice")
    return data


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _array(file: IO[bytes], limit: int) -> Array:
    """The array of an npy stream that holds it and nothing else; read in pieces, as it may be large."""
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, by_columns, kind = read(file)
    size = 1
    for count in shape:
        size *= count
    if kind.kind not in "biufSU" or min(shape, default=0) < 0 or size * kind.itemsize > limit:
        raise ValueError(f"{shown(kind, 60)} of shape {shown(list(shape), 60)}")
    content = bytearray(size * kind.itemsize)
    view, at = memoryview(content), 0
    while at < len(content):
        piece = file.read(min(len(content) - at, 1 << 20))
        if not piece:
            raise ValueError(f"{at} bytes where {len(content)} are promised")
        view[at : at + len(piece)] = piece
        at += len(piece)
    if file.read(1):  # which also makes zipfile compare the CRC
        raise ValueError("bytes behind the array")
    array: Array = np.ndarray(shape, dtype=kind, buffer=content, order="F" if by_columns else "C")
    return array


def _unreadable(path: Path, problem: Exception, error: type[WallEdgeError], fix: str) -> NoReturn:
    raise error(f"{shown(path)}: {_reason(problem)}", expected="a readable file", fix=fix) from None


def _reason(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
