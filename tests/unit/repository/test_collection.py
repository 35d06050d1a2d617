"""Whether ``make test`` collects what is here."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
RECORDED = TESTS / "boards"


def test_no_folder_of_tests_is_passed_over(pytestconfig: pytest.Config) -> None:
    """pytest passes over folders by name, ``build`` among them: ``tests/unit/build`` was never collected."""
    patterns = pytestconfig.getini("norecursedirs")
    folders = {file.parent for file in TESTS.rglob("test_*.py") if RECORDED not in file.parents}
    names = {name for folder in folders for name in folder.relative_to(TESTS.parent).parts}
    assert "build" in names
    assert [name for name in sorted(names) if any(fnmatch(name, pattern) for pattern in patterns)] == []
