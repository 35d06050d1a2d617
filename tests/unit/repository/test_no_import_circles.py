"""No circle between files, neither through imports inside of functions nor through those for types alone.

A file that needs itself, by whatever way round, can be understood and tested only together with all the
files on that way. Imports at any depth count: one in a function hides a circle from Python, not from readers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest

from tests.conftest import ROOT

PACKAGES = {
    "wall_edge": ROOT / "wall_edge",
    "wall_edge_export": ROOT / "export" / "wall_edge_export",
    "wall_edge_engines": ROOT / "engines" / "wall_edge_engines",
    "wall_edge_bridge": ROOT / "firmware_bridge" / "wall_edge_bridge",
}


def modules() -> dict[str, ast.Module]:
    """Every module of the four packages by its dotted name, parsed."""
    trees = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            trees[name] = ast.parse(path.read_text())
    return trees


def imports(tree: ast.Module, names: frozenset[str]) -> set[str]:
    """Those of ``names`` that a module imports, anywhere in it; all imports are absolute."""
    return {name for name in _imported(tree, names) if name in names}


def _imported(tree: ast.Module, names: frozenset[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in names else str(node.module)


def circles(graph: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """Groups of modules of which each needs every other one, by whatever way round."""
    reach = {name: _reached(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in graph
        if name in reach[name]
    }
    return sorted(groups)


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += graph[name]
    return reached


def test_no_file_needs_itself() -> None:
    trees = modules()
    assert len(trees) > 150
    names = frozenset(trees)
    graph = {name: imports(tree, names) for name, tree in trees.items()}
    assert circles(graph) == []


@pytest.mark.parametrize(
    "code",
    [
        "import b",
        "from b import something",
        "def f() -> None:\n    from b import something",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import Type",
    ],
)
def test_a_circle_is_seen_however_it_is_imported(code: str) -> None:
    names = frozenset({"a", "b", "c"})
    trees = {"a": code, "b": "import c", "c": "def f() -> None:\n    import a"}
    graph = {name: imports(ast.parse(text), names) for name, text in trees.items()}
    assert circles(graph) == [("a", "b", "c")]
    assert circles({**graph, "c": set()}) == []
