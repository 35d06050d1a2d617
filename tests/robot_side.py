"""The tests that a robot can run: ``make test-robot`` installs the wheel without the exporter's packages.

By rule: left out is a test file that imports one of the workstation's packages, in whatever function, also
by way of another file of ours; and a test with a fixture that does. A test that needs the exporter as a
command, or a clone around the packages, says so by ``@pytest.mark.workstation``.
"""

from __future__ import annotations

import ast
import inspect
import os
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
WORKSTATION = {
    *("torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "transformers", "wall_edge_export"),
    *("av", "huggingface_hub", "importlinter", "matplotlib", "mutmut", "pyarrow", "tensorrt_rtx"),
}
"""What is not installed on a robot, or needs it."""
WORKSTATION -= set(os.environ.get("WALL_EDGE_TEST_TOOLS", "").split())
"""Less what is there for some tests alone: those of TensorRT's backend make graphs by the onnx package."""
BUNDLES = os.environ.get("WALL_EDGE_ROBOT_BUNDLES")
"""Where ``make test-robot`` has exported what tests need; None on a workstation, where all tests run."""
ONE_PYTHON = (
    *("unit/repository", "unit/benchmarks", "unit/build", "peers", "faults/deploy/test_deploy_kills"),
    *("closed_loop/test_virtual", "faults/robot/test_virtual", "faults/robot/test_systemd"),
    *(
        "faults/robot/test_daemon",
        "faults/robot/test_emergency",
        "faults/robot/test_log_kills",
        "faults/robot/test_servo",
    ),
)
"""By how test ids start: what is about a clone, or takes minutes to say the same on every Python. So does
what is about real time. That daemons run, stop and are stopped stands in tests that are not named here.
"""
_OURS = ("tests", "examples", "benchmarks")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Whether a file is left out, or a folder whose conftest.py cannot be imported."""
    if BUNDLES is None or collection_path == ROOT / "tests":
        return None
    file = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if file.suffix != ".py" or not file.is_file():
        return None
    # Fixtures of a conftest.py are judged one by one; those of a test file are not worth it.
    return True if needs_workstation(file, at_import=file.name == "conftest.py") else None


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes out the tests of which a fixture exports, and those that say so or are named above."""
    if BUNDLES is None:
        return
    out = [item for item in items if _left_out(item)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def _left_out(item: pytest.Item) -> bool:
    marked = any(map(item.get_closest_marker, ("workstation", "realtime")))
    elsewhere = item.nodeid.removeprefix("tests/").startswith(ONE_PYTHON)
    return marked or elsewhere or any(map(_exports, _fixtures(item)))


def _fixtures(item: pytest.Item) -> Iterator[Any]:
    for definitions in getattr(item, "_fixtureinfo").name2fixturedefs.values():  # noqa: B009
        yield definitions[-1].func


@cache
def _exports(fixture: Any) -> bool:
    try:
        code = textwrap.dedent(inspect.getsource(fixture))
    except (OSError, TypeError):
        return False
    return not WORKSTATION.isdisjoint(name.split(".")[0] for name in _imports(ast.parse(code)))


def needs_workstation(path: Path, *, at_import: bool = False) -> bool:
    """Whether a file imports one of the workstation's packages, or another file of ours that does.

    ``at_import``: when it is imported itself, not in its functions.
    """
    waiting, read = [path], set[Path]()
    while waiting:
        file = waiting.pop()
        read.add(file)
        names = _imported(file, at_import)
        if not WORKSTATION.isdisjoint(name.split(".")[0] for name in names):
            return True
        ours = (
            ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in names if name.startswith(_OURS)
        )
        waiting += [other for other in ours if other.is_file() and other not in read]
    return False


@cache
def _imported(file: Path, at_import: bool) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    if at_import:
        tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return frozenset(_imports(tree))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
