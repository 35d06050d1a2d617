"""Where a robot keeps its bundles: what is switched, moved and removed, and what never is."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wall_edge.bundle import Bundle
from wall_edge.deploy.place import Place, record_path
from wall_edge.errors import ConfigError

CopyBundle = Callable[[], Bundle]


def folders(place: Place, *names: str) -> list[Path]:
    """Folders in ``bundles`` that verified in this order, long ago."""
    made = [place.bundles / name for name in names]
    for number, folder in enumerate(made):
        folder.mkdir(parents=True)
        (folder / "file").write_text("content")
        folder.with_name(f"{folder.name}.engines").mkdir()
        record_path(folder).write_text("{}")
        os.utime(record_path(folder), (number, number))
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


def test_current_is_a_relative_link_so_that_the_place_can_be_moved(place: Place, tmp_path: Path) -> None:
    (a,) = folders(place, "a")
    place.switch(a)
    assert place.current.readlink() == Path("bundles/a")
    place.root.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "current" / "file").read_text() == "content"


def test_a_switch_that_was_killed_before_its_rename_is_made_good(place: Place) -> None:
    a, b = folders(place, "a", "b")
    place.switch(a)
    (place.root / ".current.new").symlink_to("bundles/b")
    assert place.now() == a
    place.switch(b)
    assert place.now() == b
    assert sorted(path.name for path in place.root.iterdir()) == ["bundles", "current"]


def test_what_is_no_link_is_left_alone(place: Place) -> None:
    place.current.mkdir(parents=True)
    with pytest.raises(ConfigError, match="current: not a link; expected a link"), place.alone():
        pytest.fail("went on")
    assert place.current.is_dir()


def test_one_at_a_time(place: Place) -> None:
    told: list[str] = []
    with place.alone():
        with (
            pytest.raises(ConfigError, match="another deploy or activate is at work there"),
            place.alone(told.append, 0.3),
        ):
            pytest.fail("two at once")
        assert told
    with place.alone(patience_s=0):
        pass


def test_the_newest_stay(place: Place) -> None:
    a, b, c, d = folders(place, "a", "b", "c", "d")
    place.switch(a)
    (place.incoming / "half").mkdir(parents=True)
    assert place.prune(3, None) == [b]
    assert sorted(path.name for path in place.bundles.iterdir()) == sorted(
        f"{folder.name}{end}" for folder in (a, c, d) for end in ("", ".engines", ".json")
    )
    assert list(place.incoming.iterdir()) == []
    assert place.prune(1, None) == [d, c]
    assert place.now() == a
    assert (a / "file").exists()


def test_the_one_before_stays_whatever_a_clock_without_battery_says(place: Place) -> None:
    a, b, c = folders(place, "a", "b", "c")
    place.switch(c)
    assert place.prune(2, a) == [b]


def test_one_that_never_verified_goes_first(place: Place) -> None:
    a, b, c = folders(place, "a", "b", "c")
    record_path(c).unlink()
    place.switch(a)
    assert place.prune(2, None) == [c]
    assert b.exists()


def test_one_that_a_daemon_has_open_stays(place: Place, shipped_bundle: Path) -> None:
    held = place.bundles / "held"
    shutil.copytree(shipped_bundle, held)
    (a,) = folders(place, "a")
    place.switch(a)
    bundle = Bundle(held)
    assert not place.in_use(held)
    bundle.hold()
    assert place.in_use(held)
    assert place.prune(1, None) == []
    bundle.require_unchanged()
    del bundle
    assert place.prune(1, None) == [held]


def test_who_opens_one_waits_while_it_is_removed(place: Place) -> None:
    """The lock of whoever removes it keeps a daemon from taking hold of half a bundle."""
    (a,) = folders(place, "a")
    descriptor = os.open(a, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        assert place.in_use(a)
    finally:
        os.close(descriptor)
    assert not place.in_use(a)
    assert not place.in_use(place.root / "nothing")


def test_a_copy_settles_and_what_was_checked_still_holds(place: Place, shipped_bundle: Path) -> None:
    digest = Bundle(shipped_bundle).digest
    incoming = place.incoming / digest
    shutil.copytree(shipped_bundle, incoming)
    settled = place.settle(Bundle(incoming))
    assert settled.folder == place.bundles / digest
    settled.require_unchanged()
    assert not incoming.exists()


def test_a_damaged_one_of_that_digest_makes_room(place: Place, shipped_bundle: Path) -> None:
    digest = Bundle(shipped_bundle).digest
    shutil.copytree(shipped_bundle, place.bundles / digest)
    (place.bundles / digest / "expert.data").write_bytes(b"damaged")
    assert place.whole(digest) is None
    shutil.copytree(shipped_bundle, place.incoming / digest)
    assert place.settle(Bundle(place.incoming / digest)).folder == place.bundles / digest
    assert place.whole(digest) is not None
    assert list(place.incoming.iterdir()) == []


def test_a_whole_one_of_that_digest_is_kept_for_whoever_has_it_open(
    place: Place, shipped_bundle: Path
) -> None:
    digest = Bundle(shipped_bundle).digest
    shutil.copytree(shipped_bundle, place.bundles / digest)
    shutil.copytree(shipped_bundle, place.incoming / digest)
    daemons = Bundle(place.bundles / digest)
    place.settle(Bundle(place.incoming / digest))
    daemons.require_unchanged()
    assert not (place.incoming / digest).exists()


def test_a_bundle_from_elsewhere_stays_where_it_is(place: Place, copy_bundle: CopyBundle) -> None:
    bundle = copy_bundle()
    place.root.mkdir()
    place.switch(place.settle(bundle).folder)
    assert place.now() == bundle.folder
    assert not place.current.readlink().is_absolute()
