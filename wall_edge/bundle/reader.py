"""Opening a bundle: every file is checked against its digest before anything runs."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from wall_edge.array_types import Array
from wall_edge.bundle.actions.fast_settings import FAST_TOKENIZER
from wall_edge.bundle.graphs.graph_file import check_graph
from wall_edge.bundle.manifest import DIGEST, FORMAT_VERSION, GOLDENS, MANIFEST, TOKENIZER, Manifest
from wall_edge.config_loader import from_mapping
from wall_edge.errors import BundleError
from wall_edge.files import (
    ARRAY_BYTES,
    JSON_BYTES,
    YAML_BYTES,
    open_regular,
    parse_yaml,
    read_arrays,
    read_bytes,
    require_folder,
    shown,
)

_REDO = "export the bundle again with 'wall-edge export'"
_DATA_BYTES = 64 << 30
"""Of one graph's weights: the largest published model has 16 GB in float32."""
Status = tuple[int, int, int, int, int]


class Bundle:
    """An opened bundle; every file has been checked against its digest.

    To another process it goes as it is (pickled: the manifest and what the check learned, some kB), which
    asks :meth:`require_unchanged` and hashes nothing again.

    Raises :class:`BundleError` naming the file that is missing, damaged or of another format version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder = _steady(folder)
        self._checked: dict[str, Status] = {}
        self._digests = {MANIFEST: _read_digest(folder)}
        self.manifest = _load_manifest(self._read(MANIFEST, YAML_BYTES), shown(folder / MANIFEST))
        self._digests |= self.manifest.files
        graphs = self.manifest.graphs.values()
        names = [TOKENIZER, GOLDENS, *(graph.file for graph in graphs), *(graph.data for graph in graphs)]
        names += [name for name in (self.manifest.head_tokens,) if name is not None]
        names += self.manifest.actions.files
        for name in names:
            self.path(name)  # nothing runs whose digest was not checked
        for name, graph in self.manifest.graphs.items():  # what it says of its weights bounds their size
            content, where = self._read(graph.file, ARRAY_BYTES), shown(folder / graph.file)
            inputs = check_graph(content, graph, self._size(graph.data), where)
            if name == "vision" and inputs != list(self.manifest.cameras):
                # The prompt names the cameras in the manifest's order, the graph joins them in its own.
                cameras = ", ".join(self.manifest.cameras)
                raise BundleError(f"{where}: frames of {', '.join(inputs)}", expected=cameras, fix=_REDO)
        for name in self.manifest.files:
            if name not in self._checked:
                self._check(name)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which has the digests of all else: the bundle's name among all bundles."""
        return self._digests[MANIFEST]

    def path(self, name: str) -> Path:
        """A file of the bundle that the manifest lists."""
        if name not in self.manifest.files:
            raise BundleError(f"{shown(self.folder)}: file {shown(name)} is not in the manifest", fix=_REDO)
        return self.folder / name

    def require_unchanged(self, *names: str) -> None:
        """Raise :class:`BundleError` unless these files still are what was checked; all of them by default.

        Libraries open files by name: asked after they have, it says that they read what the digest is of.
        """
        for name in names or self._checked:
            try:
                status = _status(os.stat(self.folder / name))  # noqa: PTH116 - one name for file and descriptor
            except OSError:
                status = None
            if status != self._checked[name]:
                raise BundleError(
                    f"{shown(self.folder / name)}: replaced or written to while it was being read",
                    expected="a bundle that nobody writes to",
                    fix="try again when the copy or the export is done",
                )

    def hold(self) -> None:
        """Until this object is gone, whoever removes old bundles (``wall-edge activate``) leaves this one.

        A shared lock on its folder, where the file system has locks: nobody is kept from reading it.
        """
        with contextlib.suppress(OSError):
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH)

    @cached_property
    def goldens(self) -> dict[str, Array]:
        """Golden inputs and outputs by name; no pickled objects are read."""
        arrays = read_arrays(self.path(GOLDENS), BundleError, fix=_REDO)
        self.require_unchanged(GOLDENS)
        return arrays

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "goldens"}

    def _size(self, name: str) -> int:
        with open_regular(self.folder / name, BundleError, _DATA_BYTES, _REDO) as file:
            return os.fstat(file.fileno()).st_size

    def _read(self, name: str, limit: int) -> bytes:
        """A file's bytes, which have the digest that they should have."""
        return self._check(name, limit, keep=True)

    def _check(self, name: str, limit: int = _DATA_BYTES, *, keep: bool = False) -> bytes:
        path, digest, content = self.folder / name, hashlib.sha256(), []
        limit = {TOKENIZER: JSON_BYTES, FAST_TOKENIZER: JSON_BYTES, GOLDENS: ARRAY_BYTES}.get(name, limit)
        with open_regular(path, BundleError, limit, _REDO) as file:
            status = _status(os.fstat(file.fileno()))
            for block in _blocks(file, path):
                digest.update(block)
                content += [block] if keep else []
            if _status(os.fstat(file.fileno())) != status:
                raise BundleError(f"{shown(path)}: written to while it was being read", fix="try again")
        actual, expected = digest.hexdigest(), self._digests[name]
        if actual != expected:
            raise BundleError(
                f"{shown(path)}: damaged, SHA-256 {actual[:12]}…",
                expected=f"{expected[:12]}…",
                fix=f"copy it again or {_REDO}",
            )
        self._checked[name] = status
        return b"".join(content)


def _steady(folder: Path) -> Path:
    """Where a link leads now: one that is switched later (``current``, by deploy) changes nothing for us."""
    try:
        real = Path(os.path.realpath(folder))
    except (OSError, ValueError):  # a name that no file can have: said by whoever opens it
        return folder
    return folder if real == folder.absolute() else real


def _blocks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        while block := file.read(1 << 20):
            yield block
    except OSError as error:
        raise BundleError(
            f"{shown(path)}: {error.strerror}", expected="a readable file", fix=_REDO
        ) from error


def _status(status: os.stat_result) -> Status:
    """What changes when a file is replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_digest(*paths: Path) -> str:
    """SHA-256 over the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open_regular(path, BundleError, _DATA_BYTES) as file:
            for block in _blocks(file, path):
                digest.update(block)
    return digest.hexdigest()


def _read_digest(folder: Path) -> str:
    """The digest in ``manifest.sha256``, which holds exactly what ``sha256sum`` would write."""
    fix = "check the path, or export a bundle there with 'wall-edge export'"
    require_folder(folder, BundleError, "a bundle folder", fix)
    if not os.path.exists(folder / MANIFEST):  # noqa: PTH110 - says no to a folder that may not be searched
        raise BundleError(f"{shown(folder)}: no {MANIFEST}", expected="a bundle folder", fix=fix)
    path = folder / DIGEST
    text = read_bytes(path, BundleError, 4096, _REDO).decode(errors="replace")
    line = re.fullmatch(rf"([0-9a-f]{{64}})  {re.escape(MANIFEST)}\n", text)
    if line is None:
        raise BundleError(f"{shown(path)}: damaged", expected=f"a SHA-256 and the name {MANIFEST}", fix=_REDO)
    return line[1]


def _load_manifest(content: bytes, where: str) -> Manifest:
    try:
        data = parse_yaml(content.decode(), where, BundleError)
    except UnicodeDecodeError:
        raise BundleError(f"{where}: not UTF-8 text", expected="a manifest", fix=_REDO) from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise BundleError(
            f"{where}: format version {shown(version, 60)}", expected=str(FORMAT_VERSION), fix=_REDO
        )
    return from_mapping(Manifest, data, where, BundleError)
