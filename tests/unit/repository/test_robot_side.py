"""The rule by which ``make test-robot`` leaves tests out: it must leave neither too few nor all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import robot_side
from tests.conftest import collect_ignore

TESTS = Path(__file__).parents[2]


def test_tests_of_the_robot_stay_and_tests_of_the_exporter_go() -> None:
    def out(name: str) -> bool:
        return robot_side.needs_workstation(TESTS / name)

    assert not out("closed_loop/test_daemon.py")
    assert not out("unit/servo/test_servo.py")
    assert out("unit/quantize/test_precision.py")  # imports the exporter
    assert out("golden/test_half_types.py")  # a helper of it does
    files = sorted(TESTS.rglob("test_*.py"))
    stay = [file for file in files if not robot_side.needs_workstation(file)]
    assert len(stay) > len(files) / 2


def test_an_import_in_a_function_counts(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("def test_it():\n    from torch import nn\n")
    assert robot_side.needs_workstation(file)
    assert not robot_side.needs_workstation(file, at_import=True)


def test_files_that_import_one_another_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot_side, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    for ours, other in (("a", "b"), ("b", "a")):
        (tmp_path / "tests" / f"{ours}.py").write_text(f"import tests.{other}\n")
    assert not robot_side.needs_workstation(tmp_path / "tests" / "a.py")
    (tmp_path / "tests" / "b.py").write_text("import tests.a, onnx\n")
    robot_side._imported.cache_clear()
    assert robot_side.needs_workstation(tmp_path / "tests" / "a.py")


@pytest.mark.parametrize("name", robot_side.ONE_PYTHON)
def test_what_is_named_is_there(name: str) -> None:
    folder, _, start = name.rpartition("/")
    assert list((TESTS / folder).glob(f"{start}*"))


def test_pytest_finds_its_way_through_the_folders() -> None:
    """It follows links to folders, and one to a folder above itself has no end: collecting took forever."""
    folders = (path for path in TESTS.rglob("*") if path.is_symlink() and path.is_dir())
    rooms = {path.relative_to(TESTS).parts[0] for path in folders}
    assert rooms <= set(collect_ignore)
