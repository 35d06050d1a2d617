"""A folder that a bundle is being copied into."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from wall_edge.bundle import DIGEST, MANIFEST, Bundle
from wall_edge.deploy.incoming import bytes_there, offered, remove_damaged, survey
from wall_edge.deploy.messages import FileEntry

FILES = {
    "a": FileEntry(3, sha256(b"abc").hexdigest()),
    "b": FileEntry(2, sha256(b"xy").hexdigest()),
    "empty": FileEntry(0, sha256().hexdigest()),
}


def test_everything_is_missing_from_a_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "incoming" / "digest"
    assert survey(folder, FILES) == {"a": 0, "b": 0, "empty": 0}
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("content", "missing"), [(b"", 0), (b"a", 1), (b"ab", 2), (b"abc", None), (b"abcd", 0)]
)
def test_a_shorter_file_is_gone_on_with_a_longer_one_is_no_beginning(
    content: bytes, missing: int | None, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    assert survey(tmp_path, FILES).get("a") == missing
    assert (tmp_path / "a").exists() == (len(content) <= 3)


def test_what_is_not_the_bundles_is_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "inner").touch()
    (folder / "stranger").touch()
    (folder / "a").symlink_to(outside)
    (folder / "link").symlink_to(tmp_path)
    os.mkfifo(folder / "empty")
    assert survey(folder, FILES) == {"a": 0, "b": 0, "empty": 0}
    assert list(folder.iterdir()) == []
    assert outside.read_text() == "untouched"


def test_damaged_files_are_named_and_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abX")
    (tmp_path / "b").write_bytes(b"xy")
    assert bytes_there(tmp_path) == 5
    assert remove_damaged(tmp_path, FILES) == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_what_is_offered_is_what_was_checked(shipped_bundle: Path) -> None:
    bundle = Bundle(shipped_bundle)
    files = offered(bundle)
    assert set(files) == {path.name for path in shipped_bundle.iterdir()}
    assert files[MANIFEST].sha256 == bundle.digest
    assert files[DIGEST].bytes == 80


def test_the_beginning_of_a_read_only_file_can_be_gone_on_with(tmp_path: Path) -> None:
    """Copies have their source's permissions: of a read-only one, only root could have written the rest."""
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "a").chmod(0o444)
    assert survey(tmp_path, {"a": FileEntry(4, "0" * 64)}) == {"a": 2}
    assert (tmp_path / "a").stat().st_mode & 0o200
