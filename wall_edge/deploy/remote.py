"""The workstation's end of a session (:mod:`wall_edge.deploy.session`): one ssh, kept until all is done."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Sequence

from wall_edge.deploy.messages import (
    LINE_BYTES,
    Failed,
    FromRobot,
    FromWorkstation,
    encoded,
    from_robot,
)
from wall_edge.deploy.ssh import PATIENCE_S, Ssh, await_end, error_file, last_line, ssh_failure, start, tail
from wall_edge.errors import ConfigError, RuntimeFault, WallEdgeError, shortened
from wall_edge.files import shown

_ALIVE_S = 5.0
_WAITING = 1000
INSTALL = "pip install 'wall-edge[onnxruntime]' there, or name it: --command '/home/USER/venv/bin/wall-edge'"
_SSH_FAILED, _NOT_THERE, _NO_SUCH_OPTION = 255, (126, 127), 2


class Remote:
    """``with Remote(ssh, words) as remote: remote.next(1.0); remote.send(…)``."""

    def __init__(self, ssh: Ssh, words: Sequence[str]) -> None:
        self._destination, self._name = ssh.destination, words[0]
        self._errors = error_file()
        self._noise: deque[str] = deque(maxlen=20)
        self._queue: queue.Queue[FromRobot | WallEdgeError | None] = queue.Queue(_WAITING)
        self._sending, self._closed = threading.Lock(), threading.Event()
        self._process = start(ssh.command(words), self._errors, talk=True)
        self.greeted = False
        """Whether wall-edge there has said anything."""

    def __enter__(self) -> Remote:
        for body in (self._read, self._stay_alive):
            threading.Thread(target=body, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with contextlib.suppress(OSError), self._sending:
            assert self._process.stdin is not None
            self._process.stdin.close()
        await_end(self._process)
        self._errors.close()

    def send(self, message: FromWorkstation) -> None:
        """One that is gone is told by :meth:`next`."""
        self._write(encoded(message).encode())

    def next(self, timeout_s: float | None = None) -> FromRobot | None:
        """The next message, none when there is none in time.

        Raises :class:`RuntimeFault` with what the robot says is wrong, or how the connection ended.
        """
        try:
            message = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(message, WallEdgeError):
            raise message
        if message is None:
            self._queue.put(None)
            raise self._ending()
        if isinstance(message, Failed):
            raise RuntimeFault(f"{self._destination}: {shortened(message.error, 700)}")
        self.greeted = True
        return message

    def _ending(self) -> WallEdgeError:
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            code = _SSH_FAILED
        errors = tail(self._errors)
        said = last_line(errors) or (self._noise[-1] if self._noise else "")
        if code == _SSH_FAILED or code < 0:
            return ssh_failure(self._destination, errors)
        if self.greeted:
            how = f"exit code {code}" + (f": {shown(said)}" if said else "")
            return RuntimeFault(
                f"{self._destination}: {shown(self._name)} ended there in the middle ({how})",
                fix="run the same command again: it goes on where it stopped",
            )
        if code in _NOT_THERE:
            return ConfigError(
                f"{self._destination}: {shown(self._name)} is not there ({shown(said)})",
                expected="wall-edge on the robot",
                fix=INSTALL,
            )
        return ConfigError(
            f"{self._destination}: {shown(self._name)} there does not know deploy "
            f"({shown(said) or 'no answer'})",
            expected="wall-edge of this version",
            fix=f"upgrade it: {INSTALL}" if code == _NO_SUCH_OPTION else "run it there by hand",
        )

    def _read(self) -> None:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(LINE_BYTES):
            try:
                if not line.endswith(b"\n") and len(line) == LINE_BYTES:
                    raise RuntimeFault(f"{self._destination}: a line without end", expected="wall-edge there")
                text = line.decode(errors="replace").rstrip("\n")
                message = from_robot(text)
            except WallEdgeError as problem:
                self._queue.put(problem)
                break
            if message is not None:
                self._queue.put(message)
            elif text.strip():
                self._noise.append(shown(text.strip()))
        self._queue.put(None)

    def _stay_alive(self) -> None:
        while not self._closed.wait(_ALIVE_S):
            self._write(b"\n")

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError), self._sending:  # gone: told by next()
            self._process.stdin.write(content)
            self._process.stdin.flush()
