"""A real ssh server on the loopback, with keys and hosts of its own; and a network that can be cut."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
ROOT = Path(__file__).parents[2]
SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
)
COMMAND = shlex.join([sys.executable, "-m", "wall_edge"])
"""How the robot's wall-edge is called: this checkout."""


def why_not() -> str:
    """What is missing for a server here; empty where nothing is."""
    missing = [name for name in ("ssh", "sftp", "ssh-keygen", "rsync") if shutil.which(name) is None]
    missing += [] if Path(SSHD).exists() else ["sshd"]
    return f"not installed: {', '.join(missing)} (apt install openssh-server rsync)" if missing else ""


class Network:
    """A relay between workstation and robot: ``cut`` ends what runs, ``lose`` loses it without a word."""

    def __init__(self, port: int) -> None:
        self._robot, self._sockets, self._lock = port, list[socket.socket](), threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._robot))
                with self._lock:
                    self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(*ends, self._lost), daemon=True).start()

    def cut(self) -> None:
        """All connections end; new ones work."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for end in sockets:
            _close(end)

    def lose(self) -> None:
        """Of all connections not a byte arrives any more, nor that an end of one closed; new ones work."""
        self._lost.set()
        self._lost = threading.Event()

    def close(self) -> None:
        self.cut()
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket, lost: threading.Event) -> None:
    with suppress(OSError):
        while block := source.recv(1 << 16):
            if not lost.is_set():
                sink.sendall(block)
    if not lost.is_set():
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class SshServer:
    """sshd as this user on a port of its own. ``options(...)``: what a client of it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host", "client", "stranger"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
        shutil.copy(folder / "client.pub", folder / "authorized_keys")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        (folder / "sshd_config").write_text("\n".join(self._config()) + "\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own, where a service makes it
        log = (folder / "sshd.log").open("wb")
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._await()
        self.network = Network(self.port)
        public = (folder / "host.pub").read_text().split()
        (folder / "known_hosts").write_text(f"robot {public[0]} {public[1]}\n")

    def _config(self) -> list[str]:
        path = os.pathsep.join(str(ROOT / room) for room in ("", "export", "engines", "firmware_bridge"))
        subsystem = next((server for server in SFTP_SERVERS if Path(server).exists()), "internal-sftp")
        return [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder / 'host'}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
            f"PidFile {self.folder / 'sshd.pid'}",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "MaxStartups 100",
            f"Subsystem sftp {subsystem}",
            f"SetEnv PYTHONPATH={path} OMP_NUM_THREADS=1 ROBOT_SIDE={self.folder}",
        ]

    def _await(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                if link.recv(4) == b"SSH-":
                    return
            log = (self.folder / "sshd.log").read_text(errors="replace")
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"sshd does not run here: {log.strip()[-300:]}")
            time.sleep(0.05)

    @property
    def destination(self) -> str:
        return f"{getpass.getuser()}@robot"

    def options(self, key: str = "client", hosts: str = "known_hosts", direct: bool = False) -> list[str]:
        """Of ``wall-edge deploy``: nothing of the user's configuration, agent or hosts is used."""
        words = {
            "HostName": "127.0.0.1",
            "IdentityFile": self.folder / key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self.folder / hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": "robot",
            "StrictHostKeyChecking": "yes",
        }
        ssh = [word for name, value in words.items() for word in ("--ssh-option", f"{name}={value}")]
        return [*ssh, "--port", str(self.port if direct else self.network.port)]

    def processes(self, *words: str) -> list[int]:
        """Those of the robot's side whose command line has all of ``words``."""
        mark, pids = f"ROBOT_SIDE={self.folder}\0".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes():
                    line = (entry / "cmdline").read_bytes().decode(errors="replace")
                    pids += [int(entry.name)] if all(word in line for word in words) else []
        return pids

    def sessions(self) -> list[int]:
        """The server's processes for those who are logged in."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def close(self) -> None:
        self.network.close()
        self.process.terminate()
        self.process.wait(60)
        for pid in self.processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """A server while the context lasts; skips the test where none can be had."""
    if reason := why_not():
        pytest.skip(reason)
    server = SshServer(folder)
    try:
        yield server
    finally:
        server.close()
