"""A file appears whole or not at all, whatever goes wrong while it is written."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from wall_edge.atomic import atomic_write, leftovers, sync


@pytest.mark.parametrize("content", [b"gr\xc3\xbcn\n", "grün\n", lambda file: file.write(b"gr\xc3\xbcn\n")])
@pytest.mark.parametrize("durable", [False, True])
def test_every_kind_of_content_is_written(tmp_path: Path, content: object, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_text("earlier and longer than what follows")
    atomic_write(path, content, durable=durable)  # type: ignore[arg-type]
    assert path.read_bytes() == b"gr\xc3\xbcn\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_may_seek(tmp_path: Path) -> None:
    """As numpy's archives do."""
    atomic_write(tmp_path / "a.npz", lambda file: np.savez(file, values=np.arange(3)))
    assert np.load(tmp_path / "a.npz")["values"].tolist() == [0, 1, 2]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")

    def fails(file: BinaryIO) -> None:
        file.write(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic_write(path, fails)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_rename_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        atomic_write(folder, b"a file cannot take a folder's name")
    assert list(tmp_path.iterdir()) == [folder]


def test_the_disk_has_the_bytes_before_the_name_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor: int) -> None:
        order.append(f"fsync {os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    atomic_write(tmp_path / "fault.json", "reason", durable=True)
    atomic_write(tmp_path / "report.html", "page")
    assert order == ["fsync 6 bytes", "rename", "rename"]


def test_what_a_killed_process_leaves_is_listed_and_is_no_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "jour[n]al.json"
    child = os.fork()
    if child == 0:
        try:
            atomic_write(path, lambda _file: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not path.exists()
    (left,) = leftovers(path)
    assert left.name == f".jour[n]al.json.{child}.partial"
    assert not leftovers(tmp_path / "other.json")


def test_sync_takes_files_and_folders_and_names_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    sync(path)
    sync(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        sync(tmp_path / "missing")


def test_a_disk_that_has_nothing_to_wait_for() -> None:
    """fsync(2) answers EINVAL, as for this one: a bundle on a read-only image could not be used."""
    sync(Path("/proc/self/status"))
    with pytest.raises(FileNotFoundError):
        sync(Path("/proc/self/nothing"))
