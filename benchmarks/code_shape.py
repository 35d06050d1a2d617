"""How the packages are built: ``python benchmarks/code_shape.py [CHECKOUT]``.

Prints lines of a file and of a function (medians and the longest), how many public things have a docstring,
how many files the fullest folder holds, and how many identifiers are participles that should be nouns.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "wall_edge",
    "export/wall_edge_export",
    "engines/wall_edge_engines",
    "firmware_bridge/wall_edge_bridge",
)
PARTICIPLES = {"found", "given", "wanted", "seen", "made", "known", "own"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(tree: ast.Module) -> Iterator[Definition]:
    """Functions, methods and classes, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Definition))


def public(node: Definition) -> bool:
    return not node.name.startswith("_")


def lines(node: Definition) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def participles(tree: ast.Module) -> int:
    """Variables, attributes, parameters and functions that are one of the words, or hold one."""
    names = (
        getattr(node, key, None) for node in ast.walk(tree) for key in ("id", "attr", "arg", "name", "asname")
    )
    return sum(
        not PARTICIPLES.isdisjoint(name.strip("_").lower().split("_"))
        for name in names
        if isinstance(name, str)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1])
    root = parser.parse_args().checkout
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    trees = {path: ast.parse(path.read_text()) for path in paths}
    code = [path for path in paths if path.name != "__init__.py"]
    files = [len(path.read_text().splitlines()) for path in code]
    nodes = [node for tree in trees.values() for node in definitions(tree)]
    functions = [lines(node) for node in nodes if not isinstance(node, ast.ClassDef)]
    documented = [ast.get_docstring(node) is not None for node in nodes if public(node)]
    folders = Counter(path.parent for path in root.rglob("*.py") if ".venv" not in path.parts)
    median = statistics.median
    fullest, most = folders.most_common(1)[0]
    print(
        f"files               {len(files)}, median {statistics.median(files):g} lines, longest {max(files)}"
    )
    print(
        f"functions           {len(functions)}, median {median(functions):g} lines, longest {max(functions)}"
    )
    print(f"public docstrings   {sum(documented) / len(documented):.0%} of {len(documented)}")
    print(f"fullest folder      {most} files of Python in {fullest.relative_to(root)}")
    print(f"participles as nouns  {sum(map(participles, trees.values()))}")


if __name__ == "__main__":
    main()
