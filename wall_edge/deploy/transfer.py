"""Files to the robot, by rsync where both sides have it, else sftp: a copy that was broken off goes on."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wall_edge.deploy.ssh import Ssh, await_end, error_file, start, tail
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.files import shown

Kind = Literal["rsync", "sftp"]
TRANSFERS = ("auto", "rsync", "sftp")
_TIMEOUT_S = 45
"""rsync's, on both sides: one that lost its other end is gone before the robot's lock is free again."""


@dataclass(frozen=True)
class Job:
    """Files of ``source`` that are to come whole into ``folder`` there, with the bytes that are there."""

    source: Path
    folder: str
    missing: Mapping[str, int]
    limit_kb: int | None
    """KB/s (of 1024 bytes)."""


def choose(transfer: str, rsync_there: str) -> Kind:
    """Raises :class:`ConfigError` for an rsync that is missing on either side."""
    if transfer not in TRANSFERS:
        raise ConfigError(f"--transfer {shown(transfer)}", expected=" or ".join(TRANSFERS))
    if transfer == "sftp":
        return "sftp"
    lacking = [side for side, version in (("here", rsync_version()), ("there", rsync_there)) if not version]
    if not lacking:
        return "rsync"
    if transfer == "rsync":
        where = " and ".join(lacking)
        raise ConfigError(
            f"no rsync {where}", expected="rsync 3 or later", fix="apt install rsync, or --transfer sftp"
        )
    return "sftp"


def rsync_version() -> str:
    """As ``3.2.7``; empty where there is no rsync that can append."""
    try:
        done = subprocess.run(["rsync", "--version"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.match(rb"rsync +version v?(\d+)\.(\d+)\.(\d+)", done.stdout)
    return ".".join(part.decode() for part in match.groups()) if match and int(match[1]) >= 3 else ""


class Transfer:
    """A copy that runs. ``with Transfer(kind, ssh, job, scratch) as copy: copy.done()`` until it says so."""

    def __init__(self, kind: Kind, ssh: Ssh, job: Job, scratch: Path) -> None:
        self._destination, self._kind, self._errors = ssh.destination, kind, error_file()
        command = (_rsync if kind == "rsync" else _sftp)(ssh, job, scratch)
        self._process = start(command, self._errors, folder=job.source)

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            await_end(self._process)
        self._errors.close()

    def done(self) -> bool:
        """Whether all is copied. Raises :class:`RuntimeFault` when it failed."""
        code = self._process.poll()
        if code:
            said = shown(" ".join(tail(self._errors).decode(errors="replace").split()), 400)
            raise RuntimeFault(
                f"{self._destination}: {self._kind} ended with code {code}: {said}",
                fix="run the same command again: it goes on where it stopped",
            )
        return code == 0


def _rsync(ssh: Ssh, job: Job, scratch: Path) -> list[str]:
    """Appends to what is there; nothing but the named files.

    Without ``--append-verify``: that reads what is there in silence, minutes long on a slow card, and the
    digests are checked behind it anyway.
    """
    names = scratch / "files"
    names.write_text("".join(f"{name}\n" for name in job.missing))
    limit = [f"--bwlimit={job.limit_kb}"] if job.limit_kb is not None else []
    return [
        *("rsync", "--append", "--partial", "--copy-links", "--protect-args"),
        *(f"--timeout={_TIMEOUT_S}", f"--files-from={names}", *limit),
        *("-e", " ".join(_rsync_quoted(word) for word in ("ssh", *ssh.options))),
        *("./", f"{_bracketed(ssh.destination)}:{job.folder}/"),
    ]


def _rsync_quoted(word: str) -> str:
    """As rsync takes its ``-e`` apart: quotes as in a shell, a quote within them doubled (rsync(1))."""
    return "'" + word.replace("'", "''") + "'"


def _sftp(ssh: Ssh, job: Job, scratch: Path) -> list[str]:
    """``reput`` goes on with a file that is shorter there; of one that is not there it knows nothing."""
    batch = scratch / "batch"
    lines = [f"cd {_sftp_quoted(job.folder)}"]
    lines += [f"{'reput' if there else 'put'} {_sftp_quoted(name)}" for name, there in job.missing.items()]
    batch.write_text("".join(f"{line}\n" for line in lines))
    limit = ["-l", str(8 * job.limit_kb)] if job.limit_kb is not None else []
    return ["sftp", *ssh.options, *limit, "-q", "-b", str(batch), "--", _bracketed(ssh.destination)]


def _bracketed(destination: str) -> str:
    """With an IPv6 address in brackets, as both have it."""
    user, at, host = destination.rpartition("@")
    return f"{user}{at}[{host}]" if ":" in host else destination


def _sftp_quoted(word: str) -> str:
    """Within double quotes its batch files know the backslash before these (sftp.c, makeargv)."""
    escaped = "".join(f"\\{c}" if c in '"\\' else c for c in word)
    return f'"{escaped}"'
