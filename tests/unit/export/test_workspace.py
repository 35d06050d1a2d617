"""The workspace of an export: finished steps survive, and a bundle appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wall_edge_export.bundle import workspace as module
from wall_edge_export.bundle.workspace import SCRATCH, Workspace, require_room, workspace

from wall_edge.bundle import file_digest, placement
from wall_edge.errors import BundleError

Step = Callable[[], dict[str, str]]


def writes(space: Workspace, name: str, text: str = "", done: list[str] | None = None) -> Step:
    """A step that leaves one file."""

    def work() -> dict[str, str]:
        path = space.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text or name)
        if done is not None:
            done.append(name)
        return {name: file_digest(path)}

    return work


def make(out: Path, key: str, *names: str) -> list[str]:
    """A whole run over these steps; returns those that were done and not found."""
    done: list[str] = []
    with workspace(out, key) as space:
        for name in names:
            space.step(name, writes(space, name, f"{key} {name}", done))
        (space.folder / "manifest.yaml").write_text(f"format_version: 0\nfiles: {json.dumps([*names])}\n")
    return done


def fail(out: Path, key: str, *names: str) -> None:
    """A run that is interrupted behind these steps."""

    def run() -> None:
        with workspace(out, key) as space:
            for name in names:
                space.step(name, writes(space, name, f"{key} {name}"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_run_leaves_its_files_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "bundle"
    with workspace(out, "key") as space:
        space.step("graph", writes(space, "graph.data"))
        (space.scratch / "large.npz").write_text("x")
        assert not out.exists()
    assert names_in(out) == ["graph.data"]
    assert names_in(out.parent) == ["bundle"]


def test_a_step_is_done_once(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    fail(out, "key", "a", "b")
    assert not out.exists()
    assert make(out, "key", "a", "b", "c") == ["c"]
    assert (out / "a").read_text() == "key a"


def test_a_step_that_failed_is_not_finished(tmp_path: Path) -> None:
    def half(space: Workspace) -> dict[str, str]:
        (space.folder / "b").write_text("half")
        raise KeyboardInterrupt

    def run() -> None:
        with workspace(tmp_path / "bundle", "key") as space:
            space.step("a", writes(space, "a"))
            space.step("b", lambda: half(space))

    with pytest.raises(KeyboardInterrupt):
        run()
    assert make(tmp_path / "bundle", "key", "a", "b") == ["b"]
    assert (tmp_path / "bundle" / "b").read_text() == "key b"


def test_digests_are_of_the_bundles_files_alone(tmp_path: Path) -> None:
    with workspace(tmp_path / "bundle", "key") as space:
        space.step("two", writes(space, "z"))
        space.step("scratch", writes(space, f"{SCRATCH}/calibrated.npz"))
        space.step("one", writes(space, "a"))
        found = space.digests()
        assert list(found) == ["a", "z"]
        assert found == {name: file_digest(space.folder / name) for name in found}


def test_another_key_starts_afresh(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    fail(out, "fp32", "a", "b", "only of fp32")
    assert make(out, "int8", "a", "b") == ["a", "b"]
    assert names_in(out) == ["a", "b", "manifest.yaml"]
    assert (out / "a").read_text() == "int8 a"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("torn")])
@pytest.mark.parametrize("name", ["b", f"{SCRATCH}/b.npz"])
def test_a_finished_file_that_is_gone_or_torn_is_made_again(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    """What a power cut leaves of a file is no finished step, whatever the journal says."""
    fail(tmp_path / "bundle", "key", "a", name, "c")
    damage(tmp_path / ".bundle.partial" / name)
    assert make(tmp_path / "bundle", "key", "a", name, "c") == [name]
    if name == "b":
        assert (tmp_path / "bundle" / "b").read_text() == "key b"


@pytest.mark.parametrize(
    "journal",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\x00",
        b"{}",
        b'{"key": "key"}',
        b'{"key": "key", "steps": 1}',
        b'{"key": "key", "steps": {"a": 1}}',
        b'{"key": "key", "steps": {"a": null}}',
        b'{"key": "key", "steps": {"a": ["a"]}}',
    ],
)
def test_a_damaged_journal_starts_afresh(tmp_path: Path, journal: bytes) -> None:
    fail(tmp_path / "bundle", "key", "a")
    (tmp_path / ".bundle.partial" / "journal.json").write_bytes(journal)
    assert make(tmp_path / "bundle", "key", "a") == ["a"]


def test_resumed_names_what_was_found(tmp_path: Path) -> None:
    fail(tmp_path / "bundle", "key", "b", "a")
    with workspace(tmp_path / "bundle", "key") as space:
        assert space.resumed == ["a", "b"]
        space.step("c", writes(space, "c"))
    fail(tmp_path / "other", "key", "a")
    with workspace(tmp_path / "other", "new key") as space:
        assert space.resumed == []
        space.step("c", writes(space, "c"))


def test_an_earlier_bundle_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    make(out, "old", "a", "left over")
    fail(out, "new", "a")
    assert (out / "a").read_text() == "old a"
    make(out, "new", "a", "b")
    assert names_in(out) == ["a", "b", "manifest.yaml"]
    assert (out / "a").read_text() == "new a"
    assert names_in(tmp_path) == ["bundle"]


def test_what_is_no_bundle_is_refused_and_untouched(tmp_path: Path) -> None:
    make(tmp_path / "bundle", "key", "a")
    (tmp_path / "bundle" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("bundle", "file"):
        with pytest.raises(BundleError, match="is no bundle"), workspace(tmp_path / name, "key"):
            pytest.fail("the block ran")
    assert names_in(tmp_path) == ["bundle", "file"]
    assert (tmp_path / "bundle" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("spelling", ["bundle", "./bundle", "folder/../bundle", "link"])
def test_a_second_export_to_the_same_place_is_refused(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    with workspace(tmp_path / "bundle", "key") as space:
        space.step("a", writes(space, "a"))
        with (
            pytest.raises(BundleError, match="another export is writing there"),
            workspace(tmp_path / spelling, "other key"),
        ):
            pytest.fail("the block ran")
        assert make(tmp_path / "elsewhere", "key", "a") == ["a"]
    assert (tmp_path / "bundle" / "a").read_text() == "a"
    assert make(tmp_path / "again", "key", "a") == ["a"]


def test_a_refused_second_export_does_not_end_the_first_ones_lock(tmp_path: Path) -> None:
    with workspace(tmp_path / "bundle", "key") as space:
        space.step("a", writes(space, "a"))
        for _ in range(2):
            with pytest.raises(BundleError, match="another export"), workspace(tmp_path / "bundle", "key"):
                pytest.fail("the block ran")
    assert names_in(tmp_path / "bundle") == ["a"]


def test_the_lock_is_held_until_the_bundle_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was let go before: another export found no journal then and cleared the finished bundle away."""
    tried = []

    def rival(work: Path, out: Path) -> None:
        with pytest.raises(BundleError, match="another export"), workspace(out, "other"):
            pytest.fail("the block ran")
        tried.append(out)
        placement.put_in_place(work, out)

    monkeypatch.setattr(module, "put_in_place", rival)
    assert make(tmp_path / "bundle", "key", "a") == ["a"]
    assert tried == [tmp_path / "bundle"]
    assert names_in(tmp_path) == ["bundle"]


def test_a_signal_between_the_two_names_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the earlier bundle is set aside would leave none at its place."""
    out = tmp_path / "bundle"
    make(out, "old", "a")

    def interrupted(work: Path, out: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        placement.put_in_place(work, out)

    monkeypatch.setattr(module, "put_in_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(out, "new", "a")
    assert (out / "a").read_text() == "new a"
    assert names_in(tmp_path) == ["bundle"]


def test_a_folder_that_no_export_made_is_never_cleared(tmp_path: Path) -> None:
    mine = tmp_path / ".bundle.partial"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt"), workspace(tmp_path / "bundle", "key"):
        pytest.fail("the block ran")
    assert (mine / "notes.txt").read_text() == "mine"
    (tmp_path / ".other.partial").symlink_to(mine)
    with pytest.raises(BundleError, match="is no folder of an export"), workspace(tmp_path / "other", "key"):
        pytest.fail("the block ran")
    (tmp_path / ".third.partial").write_text("mine")
    with pytest.raises(BundleError, match="is no folder of an export"), workspace(tmp_path / "third", "key"):
        pytest.fail("the block ran")
    assert names_in(mine) == ["notes.txt"]


def test_no_room_is_one_line_and_a_rerun_resumes(tmp_path: Path) -> None:
    def full() -> dict[str, str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    def run() -> None:
        with workspace(tmp_path / "bundle", "key") as space:
            space.step("a", writes(space, "a"))
            space.step("b", full)

    with pytest.raises(BundleError) as refused:
        run()
    assert "No space left on device" in str(refused.value)
    assert "a rerun resumes" in str(refused.value)
    assert not (tmp_path / "bundle").exists()
    assert make(tmp_path / "bundle", "key", "a", "b") == ["b"]


def test_a_place_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "bundle", tmp_path / ("n" * 300)):
        with pytest.raises(BundleError, match="a folder that can be written"), workspace(out, "key"):
            pytest.fail("the block ran")


@pytest.mark.parametrize("died_after", ["first rename", "second rename"])
def test_a_kill_while_the_bundle_is_put_in_place_blocks_no_rerun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, died_after: str
) -> None:
    """The old bundle's folder, set aside and not yet deleted, once refused every later export."""
    out = tmp_path / "bundle"
    make(out, "old", "a")

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if died_after == "second rename":
            patch.setattr(placement.shutil, "rmtree", _all_but(shutil.rmtree, ".old", killed))
        else:
            patch.setattr(placement.Path, "rename", _all_but(Path.rename, ".partial", killed))
        with pytest.raises(Killed):
            make(out, "new", "a")
    fail(out, "interrupted", "a")
    assert (out / "a").read_text() == ("old a" if died_after == "first rename" else "new a")
    for key in ("newer", "newest"):
        make(out, key, "a", "b")
        assert (out / "a").read_text() == f"{key} a"
        assert names_in(tmp_path) == ["bundle"]


def _all_but(
    real: Callable[..., object], suffix: str, instead: Callable[..., object]
) -> Callable[..., object]:
    """``real``, but ``instead`` for an existing path whose name ends with ``suffix``."""

    def call(path: Path, *arguments: object, **options: object) -> object:
        chosen = instead if Path(path).name.endswith(suffix) and Path(path).exists() else real
        return chosen(path, *arguments, **options)

    return call


def test_room_is_that_of_the_nearest_folder_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = with_free_bytes(monkeypatch, 1000)
    require_room(tmp_path / "not" / "yet" / "bundle", 1000)
    require_room(tmp_path / "bundle", 0)
    assert asked == [tmp_path, tmp_path]
    with pytest.raises(BundleError, match="free some room") as refused:
        require_room(tmp_path / "not" / "yet" / "bundle", 1001)
    assert str(tmp_path) in str(refused.value)


def test_what_an_interrupted_run_left_counts_as_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rerun on a full disk needs no second copy of what it will resume."""
    fail(tmp_path / "bundle", "key", "a", f"{SCRATCH}/b.npz")
    left = sum(path.stat().st_size for path in (tmp_path / ".bundle.partial").rglob("*") if path.is_file())
    with_free_bytes(monkeypatch, 100)
    require_room(tmp_path / "bundle", 100 + left)
    with pytest.raises(BundleError, match="free"):
        require_room(tmp_path / "bundle", 101 + left)
    with pytest.raises(BundleError, match="free"):
        require_room(tmp_path / "other", 101)


def with_free_bytes(monkeypatch: pytest.MonkeyPatch, free: int) -> list[Path]:
    """A disk with this much room; gives the folders that were asked about."""
    asked: list[Path] = []

    def usage(path: Path) -> object:
        asked.append(Path(path))
        return shutil._ntuple_diskusage(10**12, 0, free)  # type: ignore[attr-defined]

    monkeypatch.setattr(module.shutil, "disk_usage", usage)
    return asked


def test_a_lock_is_on_the_file_that_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H15: the last holder removes the file between another's opening and its lock: both would hold one."""
    path, opened = tmp_path / ".out.lock", []
    real = os.open

    def race(name: Any, *arguments: Any, **options: Any) -> int:
        descriptor = real(name, *arguments, **options)
        if Path(name) == path and len(opened) < 3:
            opened.append(os.fstat(descriptor).st_ino)
            path.unlink()  # the first holder ends here
            if len(opened) == 2:
                path.touch()  # and a third begins, with a file of its own
        return descriptor

    monkeypatch.setattr(module.os, "open", race)
    with module._locked(path):
        assert len(opened) == 3
        with pytest.raises(BundleError, match="another export is writing"), module._locked(path):
            pytest.fail("two hold the lock")
    assert not path.exists()


def test_exports_that_race_for_a_lock_never_share_it(tmp_path: Path) -> None:
    """H15: many at once, each removing the file as it ends."""
    path, inside, most = tmp_path / ".out.lock", [0], [0]
    taken: list[int] = []

    def hold(number: int) -> None:
        for _ in range(200):
            with contextlib.suppress(BundleError), module._locked(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                taken.append(number)
                inside[0] -= 1

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert taken


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_lock_file_that_is_none(tmp_path: Path, kind: str) -> None:
    """H15, H16: a pipe does not block, and a link is not followed."""
    path = tmp_path / ".out.lock"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to(tmp_path / "elsewhere")
    with contextlib.suppress(OSError, BundleError), module._locked(path):
        pass
    assert not (tmp_path / "elsewhere").exists()
