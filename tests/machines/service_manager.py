"""A service manager for tests: takes a daemon's words as systemd does, strict about who says what when."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

_CREDENTIALS = struct.Struct("iII")
_MOST_S = 60.0
_SETTLE = b"of this process itself"
_WORDS = {"READY", "STATUS", "WATCHDOG", "STOPPING", "EXTEND_TIMEOUT_USEC"}


class Manager:
    """Starts one command as a unit's main process, in a process group that stands for the unit's cgroup.

    What is out of order goes into ``wrong``. Unlike systemd it signals nobody by itself: tests look on first.
    """

    def __init__(self, address: str, watchdog_s: float) -> None:
        self.watchdog_s, self.wrong = watchdog_s, [""][1:]
        self.words: list[tuple[float, str, str]] = []
        """When, and what: ``("READY", "1")``."""
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(0.2)
        self._place = "\0" + address[1:] if address.startswith("@") else address
        self._socket.bind(self._place)
        self._closed = False
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """NOTIFY_SOCKET and the watchdog's words are in its environment, as systemd.exec(5) says."""
        watchdog = {"NOTIFY_SOCKET": self._address, "WATCHDOG_USEC": str(round(self.watchdog_s * 1e6))}
        self.main = subprocess.Popen(
            ["/bin/sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", *command],
            env={**environment, **watchdog},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._thread.start()
        return self.main

    def signal(self, number: signal.Signals) -> None:
        """To all processes, and SIGCONT behind it: KillMode=control-group."""
        os.killpg(self.main.pid, number)
        os.killpg(self.main.pid, signal.SIGCONT)

    def settle(self) -> None:
        """Until all that was said by now is in ``words``: a thread of a busy test may be seconds late."""
        self._settled.clear()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
            ours.sendto(_SETTLE, self._place)
        assert self._settled.wait(_MOST_S)

    def ended(self, seconds: float = 120.0) -> tuple[int, str, str]:
        """Waits for the unit's main process: its exit code and output. All that it told us is here then."""
        output, errors = self.main.communicate(timeout=seconds)
        self.settle()
        return self.main.returncode, output, errors

    def close(self) -> None:
        """Ends what is left of the unit."""
        self._closed = True
        if self._thread.ident is not None:
            self._thread.join()
            if self.main.poll() is None:
                os.killpg(self.main.pid, signal.SIGKILL)
                self.main.communicate()
        self._socket.close()

    def count(self, word: str) -> int:
        return sum(name == word for _, name, _ in self.words)

    def silent_s(self) -> float:
        """Since the last sign of life."""
        fed = [when for when, name, _ in self.words if name in ("READY", "WATCHDOG")]
        return time.monotonic() - fed[-1] if fed else 0.0

    def wait_until(self, holds: Callable[[], bool], seconds: float = _MOST_S) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.words[-5:]
            assert self.main.poll() is None, self.main.communicate()
            time.sleep(0.02)

    def _listen(self) -> None:
        while not self._closed:
            try:
                message, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
            except TimeoutError:
                continue
            if message == _SETTLE:
                self._settled.set()
                continue
            pid = next(
                _CREDENTIALS.unpack(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS
            )
            self._take(pid, message.decode())

    def _take(self, pid: int, message: str) -> None:
        if pid != self.main.pid:
            self.wrong.append(f"{message!r} of process {pid}: NotifyAccess=main")
        for line in message.split("\n"):
            name, _, value = line.partition("=")
            if name not in _WORDS:
                self.wrong.append(f"{line!r} says nothing")
            if name == "READY" and (self.count("READY") or self.count("STOPPING")):
                self.wrong.append("READY a second time, or after STOPPING")
            if name == "WATCHDOG" and (not self.count("READY") or self.count("STOPPING")):
                self.wrong.append("WATCHDOG before READY, or after STOPPING")
            if name == "STOPPING" and self.count("STOPPING"):
                self.wrong.append("STOPPING a second time")
            self.words.append((time.monotonic(), name, value))
