"""A compiler that does as a test says, in processes of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wall_edge_engines.build import graph_process
from wall_edge_engines.build.targets import selection
from wall_edge_engines.cuda.driver import DeviceFacts

from tests import fake_compiler
from wall_edge.errors import EngineError

Machine = Callable[..., None]

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


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes this a machine with a GPU or none, and with the modules of compilers."""

    def set_up(device: DeviceFacts | None, *modules: str) -> None:
        def at_hand() -> DeviceFacts:
            if device is None:
                raise EngineError("no GPU at hand: cuInit says CUDA_ERROR_NO_DEVICE")
            return device

        monkeypatch.setattr(selection, "device_at_hand", at_hand)
        monkeypatch.setattr(selection, "find_spec", lambda name: object() if name in modules else None)

    return set_up
