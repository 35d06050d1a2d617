"""Names are nouns: participles that say nothing about what a thing is stay out of the packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = (
    "wall_edge",
    "export/wall_edge_export",
    "engines/wall_edge_engines",
    "firmware_bridge/wall_edge_bridge",
)
PARTICIPLES = {"found", "given", "wanted", "seen", "made", "known", "own"}
MOST = 10


def names(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        for attribute in ("id", "attr", "arg", "name", "asname"):
            name = getattr(node, attribute, None)
            if isinstance(name, str):
                yield name


def uses(name: str) -> bool:
    return not PARTICIPLES.isdisjoint(name.strip("_").lower().split("_"))


def test_the_count_sees_them_everywhere() -> None:
    code = "def own_rows(given, *, known=1):\n    found = self._seen.made\n    return wanted"
    assert sum(map(uses, names(code))) == 7


def test_participles_are_no_nouns() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in names(path.read_text())
        if uses(name)
    ]
    assert len(found) <= MOST, "\n".join(found)
