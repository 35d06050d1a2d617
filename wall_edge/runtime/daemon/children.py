"""The processes of the daemon: started, listened to, ended."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.messages import Stop
from wall_edge.signals import blocked

EXIT_S = 5.0
"""How long a process may take to end by itself, and again once it was killed."""


@dataclass
class _Child:
    process: SpawnProcess
    conn: Connection

    def heard_out(self) -> bool:
        """Whether the process has ended and nothing it said is left to read."""
        return not self.process.is_alive() and (self.conn.closed or not self.conn.poll())


class Children:
    """Named processes with a pipe each; a process's body takes its end of the pipe first."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._children: dict[str, _Child] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In order of starting."""
        return tuple(self._children)

    def spawn(self, name: str, body: Callable[..., None], *arguments: Any) -> int:
        """Start ``body(conn, *arguments)``; its pid. Signals wait until the process is known here, and in it
        until it has set its own handlers.
        """
        with blocked():  # apart, as Python unblocks SIGINT and SIGTERM once it has started its own helper
            resource_tracker.ensure_running()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=body, args=(theirs, *arguments), name=f"wall-edge-{name}")
        with blocked():
            process.start()
            self._children[name] = _Child(process, ours)
        theirs.close()
        return process.pid or 0

    def alive(self, name: str) -> bool:
        """Whether the process was started and runs."""
        return name in self._children and self._children[name].process.is_alive()

    def send(self, name: str, message: object) -> None:
        """Raises :class:`RuntimeFault` when the process is gone."""
        try:
            self._children[name].conn.send(message)
        except OSError as error:
            raise RuntimeFault(f"the {name} process is gone", fix="see the messages above") from error

    def receive(self, timeout_s: float) -> Iterator[tuple[str, Any]]:
        """What the processes have said, waiting up to ``timeout_s`` for the first of it."""
        conns = {child.conn: name for name, child in self._children.items() if not child.conn.closed}
        for conn in wait(list(conns), timeout=timeout_s):
            assert isinstance(conn, Connection)
            yield from ((conns[conn], message) for message in _drain(conn))

    def failure(self) -> str:
        """One line about a process that ended without being told to; empty while all run."""
        codes = {name: self.exit_code(name) for name in self._children}
        return next((unexpected(name, code) for name, code in codes.items() if code is not None), "")

    def exit_code(self, name: str) -> int | None:
        """Of a process that has ended, once nothing that it said is left to read; else None."""
        child = self._children[name]
        return child.process.exitcode if child.heard_out() else None

    def end(self, name: str) -> None:
        """Tell a process to end, and kill it when it does not."""
        child = self._children[name]
        with contextlib.suppress(OSError):  # it may have ended by itself
            child.conn.send(Stop())
        child.process.join(EXIT_S)
        self.kill(name)

    def kill(self, name: str) -> None:
        """End a process at once; one that the kernel does not let go of is left after some seconds."""
        process = self._children[name].process
        if process.is_alive():
            process.kill()
        process.join(EXIT_S)


def unexpected(name: str, code: int) -> str:
    """One line about the process ``name`` that ended with ``code``."""
    return f"the {name} process ended unexpectedly (exit code {code})"


def _drain(conn: Connection) -> Iterator[Any]:
    while True:
        try:
            if not conn.poll():
                return
            message = conn.recv()
        except (EOFError, OSError):
            conn.close()
            return
        yield message
