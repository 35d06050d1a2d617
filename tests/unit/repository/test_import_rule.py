"""The import rule: absolute, and from a package where it is a contract, else from the module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = {
    "wall_edge": "wall_edge",
    "wall_edge_export": "export/wall_edge_export",
    "wall_edge_engines": "engines/wall_edge_engines",
    "wall_edge_bridge": "firmware_bridge/wall_edge_bridge",
}
FILES = sorted(path for room in ROOMS.values() for path in (ROOT / room).rglob("*.py"))


def module(path: Path) -> str:
    room = next(room for room, folder in ROOMS.items() if (ROOT / folder) in path.parents)
    parts = (room, *path.relative_to(ROOT / ROOMS[room]).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exported(path: Path) -> set[str]:
    """What ``__all__`` says; empty where there is none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


CONTRACTS = {module(path): exported(path) for path in FILES if exported(path)}


def violations(path: Path) -> Iterator[str]:
    here = module(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            yield f"line {node.lineno}: a relative import"
        source = node.module or ""
        for contract, names in CONTRACTS.items():
            inside = here == contract or here.startswith(f"{contract}.")
            if inside or not source.startswith(f"{contract}."):
                continue
            yield from (
                f"line {node.lineno}: {alias.name} from {source}, which {contract} exports"
                for alias in node.names
                if alias.name in names
            )


def test_a_contract_is_a_package() -> None:
    assert "wall_edge.bundle" in CONTRACTS
    assert all(path.name == "__init__.py" for path in FILES if exported(path))


@pytest.mark.parametrize("room", ROOMS)
def test_the_rule(room: str) -> None:
    folder = ROOT / ROOMS[room]
    broken = {str(path): list(violations(path)) for path in FILES if folder in path.parents}
    assert not {path: lines for path, lines in broken.items() if lines}
