"""The user's own ssh: their configuration, agent and hosts; never a prompt, one login for all.

Options and messages are OpenSSH's (ssh(1), ssh_config(5), sftp(1)); ``-o`` that comes first holds.
"""

from __future__ import annotations

import ctypes
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.files import shown

_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=6",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "RequestTTY=no",
)
_SOCKET_PATH = 80
"""Characters: ssh binds another name, 17 longer, first; a socket's path may have 107 (unix(7))."""
_TAIL_BYTES = 8192
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
"""``linux/prctl.h``"""

PATIENCE_S = 5.0
"""How long a child that was told to end may take."""


class Ssh:
    """How to reach ``destination``; ``control``: a private folder for the shared connection's socket.

    Raises :class:`ConfigError` for a destination or an option that ssh must not or does not take.
    """

    def __init__(self, destination: str, options: Sequence[str], port: int | None, control: Path) -> None:
        self.destination = require_destination(destination)
        for option in options:
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9]*[ =].*", option) is None or not option.isprintable():
                raise ConfigError(f"--ssh-option {shown(option)}", expected="NAME=VALUE, as after ssh -o")
        ours = [*options, *([f"Port={port}"] if port is not None else []), *_OPTIONS]
        self._options = [word for option in ours for word in ("-o", option)]
        socket = control / "ssh"
        self._shared: list[str] = []
        plain = re.fullmatch(r"[\w./-]+", str(socket)) is not None  # ssh expands %, and takes no blanks
        if not self._has_control_path() and plain and len(str(socket)) <= _SOCKET_PATH:
            self._shared = ["-o", f"ControlPath={socket}", "-o", "ControlPersist=no"]

    @property
    def options(self) -> list[str]:
        """For every further connection: through the first one where that is shared."""
        return [*self._options, *self._shared, *(["-o", "ControlMaster=no"] if self._shared else [])]

    def command(self, words: Sequence[str]) -> list[str]:
        """The first connection, which runs ``words`` there, each quoted for its shell."""
        master = ["-o", "ControlMaster=yes"] if self._shared else []
        return ["ssh", *self._options, *self._shared, *master, "--", self.destination, shlex.join(words)]

    def _has_control_path(self) -> bool:
        """Whether the user shares connections already: theirs may be logged in by a second factor."""
        command = ["ssh", "-G", *self._options, "--", self.destination]
        try:
            done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except FileNotFoundError:
            raise ConfigError("ssh is not installed", fix="apt install openssh-client") from None
        except subprocess.TimeoutExpired:
            raise ConfigError("ssh -G did not end", fix="look at ~/.ssh/config") from None
        if done.returncode:
            raise ConfigError(
                f"ssh does not take that: {shown(last_line(done.stderr))}", fix="see man ssh_config"
            )
        return re.search(rb"^controlpath (?!none$)", done.stdout, re.MULTILINE) is not None


def require_destination(text: str) -> str:
    """``USER@HOST`` or a name of ~/.ssh/config. Raises :class:`ConfigError`; never an option for ssh."""
    name = r"[A-Za-z0-9_][A-Za-z0-9_.+\\-]*"
    if (
        re.fullmatch(rf"({name}@)?([A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(%\w+)?)", text)
        is None
    ):
        raise ConfigError(f"destination {shown(text)}", expected="USER@HOST, or a host of ~/.ssh/config")
    return text


def await_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a child that has been told to end; kill it when it does not."""
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start(
    command: Sequence[str], errors: IO[bytes], *, talk: bool = False, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """A child that ends when we do, even by kill -9; call it from the main thread, whose end that is.

    ``talk``: with pipes to its stdin and from its stdout, which go nowhere otherwise.
    """
    stream = subprocess.PIPE if talk else subprocess.DEVNULL
    try:
        return subprocess.Popen(
            command, stdin=stream, stdout=stream, stderr=errors, cwd=folder, preexec_fn=_end_with_parent
        )
    except FileNotFoundError:
        raise ConfigError(f"{command[0]} is not installed", fix=f"apt install {command[0]}") from None


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def error_file() -> IO[bytes]:
    """For a child's stderr: a pipe that nobody reads would stop it."""
    return tempfile.TemporaryFile()


def tail(errors: IO[bytes]) -> bytes:
    """The end of what was written there."""
    errors.seek(max(0, errors.seek(0, 2) - _TAIL_BYTES))
    return errors.read()


def last_line(text: bytes) -> str:
    """The last line that says something."""
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def ssh_failure(destination: str, errors: bytes) -> RuntimeFault:
    """What ssh's own exit code 255 means."""
    text = errors.decode(errors="replace")
    for words, what, fix in _FAILURES:
        if words in text:
            return RuntimeFault(f"{destination}: {what}", fix=fix.format(destination=destination))
    said = shown(last_line(errors) or "ssh said nothing")
    return RuntimeFault(
        f"{destination}: the connection failed or broke off ({said})",
        fix="run the same command again: it goes on where it stopped",
    )


_BY_HAND = "log in once by hand (ssh {destination}), then run the same command again"
_FAILURES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is another than before",
        "if it was flashed anew: ssh-keygen -R its name, then log in once by hand (ssh {destination})",
    ),
    ("Host key verification failed", "its host key is unknown here", f"compare it and {_BY_HAND}"),
    (
        "Permission denied",
        "ssh would ask for a password or passphrase, or no key of yours is accepted there",
        "ssh-copy-id {destination}, or ssh-add your key; then run the same command again",
    ),
    ("Too many authentication failures", "too many keys were tried", "--ssh-option IdentitiesOnly=yes"),
    ("Could not resolve hostname", "no such host", "check the name, or use its address"),
    ("Connection refused", "no ssh server listens there", "apt install openssh-server there, or see --port"),
    ("No route to host", "cannot be reached", "is it on, and in this network?"),
    ("Network is unreachable", "cannot be reached", "is this machine in its network?"),
    ("timed out", "does not answer", "is it on, and in this network? Then run the same command again"),
)
