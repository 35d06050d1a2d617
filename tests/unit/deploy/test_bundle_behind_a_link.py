"""A bundle opened through a link is the one that the link led to then, whatever it leads to later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from wall_edge_engines.build.record import engines_folder

from wall_edge.bundle import Bundle
from wall_edge.errors import BundleError

CopyBundle = Callable[[], Bundle]


@pytest.fixture
def link(copy_bundle: CopyBundle, tmp_path: Path) -> Path:
    path = tmp_path / "current"
    path.symlink_to(copy_bundle().folder.name)
    return path


def test_the_link_may_be_switched_or_go(link: Path) -> None:
    bundle = Bundle(link)
    assert bundle.folder == link.parent / "bundle"
    link.unlink()
    link.symlink_to("elsewhere")
    bundle.require_unchanged()
    assert bundle.goldens


def test_its_engines_lie_beside_the_bundle_not_beside_the_link(link: Path) -> None:
    assert engines_folder(Bundle(link)) == link.parent / "bundle.engines"


def test_without_a_link_messages_name_what_was_typed(
    copy_bundle: CopyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_bundle().folder
    monkeypatch.chdir(folder.parent)
    assert Bundle(Path(folder.name)).folder == Path(folder.name)


@pytest.mark.parametrize("name", ["loop", "dangling", "nul\0l"])
def test_links_to_nowhere_are_one_line(name: str, tmp_path: Path) -> None:
    for source, target in (("loop", "loop"), ("dangling", "nothing")):
        (tmp_path / source).symlink_to(target)
    with pytest.raises(BundleError, match="expected a bundle folder"):
        Bundle(tmp_path / name)
