"""The supervisor: starts the rows of the process table, and says which process ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from wall_edge.runtime.daemon.children import Children, unexpected
from wall_edge.runtime.daemon.process_table import Death, Plant, ProcessRow


class Supervisor:
    """Runs processes, and nothing else. ``log`` is told of every start: kind, then fields."""

    def __init__(self, plant: Plant, log: Callable[..., None]) -> None:
        self._plant, self._log = plant, log
        self._children = Children()
        self._rows: dict[str, ProcessRow] = {}
        self._restarts: dict[str, int] = {}

    def start(self, row: ProcessRow, name: str) -> None:
        """Start one instance of a row."""
        self._rows[name] = row
        pid = self._children.spawn(name, row.body(self._plant), *row.arguments(self._plant, name))
        for ring in row.rings(self._plant):
            ring.assign_writer(pid)
        self._log("spawned", process=name, pid=pid)

    def runs(self, name: str) -> bool:
        """Whether a process was ever started under this name."""
        return name in self._children.names

    def alive(self, name: str) -> bool:
        """Whether it was started and has not ended."""
        return self._children.alive(name)

    def send(self, name: str, message: object) -> None:
        """Raises :class:`RuntimeFault` when the process is gone."""
        self._children.send(name, message)

    def receive(self, timeout_s: float) -> Iterator[tuple[str, Any]]:
        """What the processes have said, waiting up to ``timeout_s`` for the first of it."""
        return self._children.receive(timeout_s)

    def failure(self) -> str:
        """One line about a process that ended without being told to; empty while all run, or can be spared.

        One whose row allows it is started again instead.
        """
        for name in self._children.names:
            row = self._rows[name]
            if (code := self._children.exit_code(name)) is None:
                continue
            if row.death is not Death.RESTART:
                return unexpected(name, code)
            if self._restarts.get(name, 0) < row.restarts:
                self._restarts[name] = self._restarts.get(name, 0) + 1
                self._log("restart", process=name, exit_code=code)
                with contextlib.suppress(OSError):  # no process to be had: the robot goes on without a log
                    self.start(row, name)
        return ""

    def kill(self, name: str) -> None:
        """End a process at once."""
        self._children.kill(name)

    def end(self) -> None:
        """End all processes, the last one started first."""
        for name in reversed(self._children.names):
            self._children.end(name)
