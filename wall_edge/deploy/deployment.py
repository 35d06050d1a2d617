"""``wall-edge deploy``: what the workstation does, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wall_edge.bundle import FORMAT_VERSION, Bundle
from wall_edge.deploy.incoming import offered
from wall_edge.deploy.messages import (
    Activation,
    Awaiting,
    Copied,
    Done,
    FileEntry,
    FromRobot,
    Hello,
    Offer,
    Progress,
)
from wall_edge.deploy.remote import INSTALL, Remote
from wall_edge.deploy.ssh import Ssh
from wall_edge.deploy.transfer import Job, Kind, Transfer, choose
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.files import shown
from wall_edge.provenance import wall_edge_version

STAGES = ("connect", "copy", "digests", "engine", "verify", "switch")
_START_S = 180.0
"""The lock is waited for, and a small board imports for seconds."""
_POLL_S = 0.2
Told = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is to be deployed. ``place``: from the login's home; ``options``: of ``wall-edge activate``."""

    bundle: Bundle
    place: str
    command: Sequence[str]
    options: Sequence[str]
    transfer: str
    limit_kb: int | None


@dataclass(frozen=True)
class Deployment:
    """How it went. ``copied_bytes`` is 0 where the bundle was there; ``again``: damaged on the way."""

    destination: str
    version: str
    transfer: Kind | None
    files: int
    copied_bytes: int
    copy_s: float
    again: tuple[str, ...]
    activation: Activation


def deploy(ssh: Ssh, request: Request, scratch: Path, told: Told) -> Deployment:
    """Copy, have it activated there, and say how that went. Raises :class:`WallEdgeError`."""
    told("connect")
    files = offered(request.bundle)
    with Remote(ssh, _words(request)) as remote:
        hello = _hello(remote, ssh.destination, told)
        remote.send(Offer(files))
        copier = _Copier(ssh, request, files, hello, scratch)
        while not isinstance(message := remote.next(), Done):
            if isinstance(message, Awaiting):
                copier.copy(message, remote, told)
            elif isinstance(message, Progress):
                told(shown(message.stage, 80))
            else:
                raise RuntimeFault(f"{ssh.destination}: wall-edge there spoke out of turn")
    if message.activation.digest != request.bundle.digest:
        raise RuntimeFault(f"{ssh.destination}: another bundle is current there", fix="deploy again")
    return Deployment(
        destination=ssh.destination,
        version=hello.version,
        transfer=copier.kind,
        files=copier.files,
        copied_bytes=copier.bytes,
        copy_s=round(copier.seconds, 3),
        again=tuple(copier.again),
        activation=message.activation,
    )


class _Copier:
    """Copies what the robot asks for, and counts."""

    def __init__(
        self, ssh: Ssh, request: Request, files: dict[str, FileEntry], hello: Hello, scratch: Path
    ) -> None:
        self._ssh, self._request, self._entries, self._hello = ssh, request, files, hello
        self._scratch = scratch
        self.kind: Kind | None = None
        self.files = self.bytes = 0
        self.seconds = 0.0
        self.again: list[str] = []

    def copy(self, awaiting: Awaiting, remote: Remote, told: Told) -> None:
        """Until all is there. Raises :class:`WallEdgeError`; what has arrived stays."""
        self.again += awaiting.damaged
        strange = set(awaiting.missing) - set(self._entries)
        if strange:
            raise RuntimeFault(
                f"{self._ssh.destination}: asks for {shown(min(strange))}, which is not in the bundle"
            )
        start = time.monotonic()
        told("copy")
        if awaiting.missing:
            self._run(awaiting, remote, told)
        self._request.bundle.require_unchanged()
        self.seconds += time.monotonic() - start
        self.files += len(awaiting.missing)
        self.bytes += sum(self._entries[name].bytes - there for name, there in awaiting.missing.items())
        remote.send(Copied())

    def _run(self, awaiting: Awaiting, remote: Remote, told: Told) -> None:
        self.kind = choose(self._request.transfer, self._hello.rsync)
        job = Job(self._request.bundle.folder, awaiting.folder, awaiting.missing, self._request.limit_kb)
        total = sum(entry.bytes for entry in self._entries.values())
        with Transfer(self.kind, self._ssh, job, self._scratch) as transfer:
            while not transfer.done():
                message = remote.next(_POLL_S)
                if isinstance(message, Progress) and message.bytes is not None:
                    told(f"copy: {message.bytes / 1e6:.1f} of {total / 1e6:.1f} MB")
                elif message is not None and not isinstance(message, Progress):
                    raise RuntimeFault(f"{self._ssh.destination}: wall-edge there spoke out of turn")


def _words(request: Request) -> list[str]:
    """The command line there."""
    place = from_home(request.place)
    folder = f"{place}/incoming/{request.bundle.digest}"
    return [*request.command, "activate", "--session", "--at", place, *request.options, "--", folder]


def _hello(remote: Remote, destination: str, told: Told) -> Hello:
    deadline = time.monotonic() + _START_S
    message: FromRobot | None = None
    while not isinstance(message, Hello):
        message = remote.next(_POLL_S)
        if isinstance(message, Progress):
            told(shown(message.stage, 80))
        elif time.monotonic() > deadline:
            raise RuntimeFault(
                f"{destination}: wall-edge there said nothing in {_START_S:.0f} s", fix="try it by hand"
            )
    if message.format_version != FORMAT_VERSION:
        raise ConfigError(
            f"{destination}: wall-edge {shown(message.version, 40)} there reads bundles of format "
            f"{message.format_version}, this one is of {FORMAT_VERSION}",
            fix=f"wall-edge {wall_edge_version()} on both sides: {INSTALL}",
        )
    return message


def from_home(path: str) -> str:
    """``~/x`` as ``x``: a login starts at home, and nothing is left for its shell to expand.

    Raises :class:`ConfigError` for what is no plain path.
    """
    plain = path.removeprefix("~/").rstrip("/") or path
    if (
        not plain.isprintable()
        or plain.startswith(("-", "~"))
        or plain in ("", ".", "/")
        or len(plain) > 1024
    ):
        raise ConfigError(f"--at {shown(path)}", expected="a folder on the robot, from its home or from /")
    return plain
