"""A compiler that does as a test says, in processes of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from wall_edge_engines.build import graph_process
from wall_edge_engines.build.device import DeviceFacts

from tests import fake_compiler

ORIN = DeviceFacts("Orin", 87, int(15.3 * (1 << 30)), integrated=True, driver="12.6")


class Compilers:
    """How each graph's compiler ends: ``behaviour[graph]``; ``jobs`` are those it was asked for."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self.behave()

    def behave(self, **behaviour: str) -> None:
        self._notes.write_text(json.dumps(behaviour))

    @property
    def jobs(self) -> list[dict[str, Any]]:
        log = self._notes.with_suffix(".log")
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compilers:
    notes = tmp_path / "compiler.json"
    monkeypatch.setattr(graph_process, "WORKER", (sys.executable, fake_compiler.__file__, str(notes)))
    return Compilers(notes)
