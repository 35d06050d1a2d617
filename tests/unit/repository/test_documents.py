"""Files that the documents name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
ROOMS = "wall_edge|export|engines|firmware_bridge|benchmarks|tests|examples|docs"
PLACEHOLDER = re.compile(r"NAME|SECTION|[*{<…]")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_named_with_its_room_exists(page: Path) -> None:
    named = re.findall(rf"`((?:{ROOMS})/[^`\s]*)", page.read_text())
    assert [path for path in named if not PLACEHOLDER.search(path) and not (ROOT / path).exists()] == []


def test_where_do_i_add_names_files() -> None:
    """The test above would pass on a page that it cannot read."""
    page = (ROOT / "docs" / "add.md").read_text()
    assert len(re.findall(rf"`(?:{ROOMS})/", page)) > 30
