"""A workspace's key changes with any code that an export runs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import wall_edge_engines
import wall_edge_export
from wall_edge_export.bundle import resume_key

import wall_edge


@pytest.mark.parametrize("package", [wall_edge, wall_edge_engines, wall_edge_export])
def test_the_key_is_over_every_package_s_sources(
    package: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resume_key._code_digest()
    (tmp_path / "newer.py").write_text("NEWER = True\n")
    monkeypatch.setattr(package, "__file__", str(tmp_path / "__init__.py"))
    assert resume_key._code_digest() != before
