"""A robot behind a real ssh server on the loopback, and a workstation that deploys to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.machines.ssh_server import COMMAND, SshServer, ssh_server
from wall_edge.bundle import Bundle, Manifest, write_manifest
from wall_edge.cli import app
from wall_edge.errors import WallEdgeError

PATIENCE_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """Of a module: tests of other modules count this process's children."""
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def variant(source: Path, folder: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """A copy with another manifest, and so of another digest."""
    shutil.copytree(source, folder)
    write_manifest(folder, change(Bundle(source).manifest))
    return folder


def renamed(name: str) -> Callable[[Manifest], Manifest]:
    return lambda manifest: replace(manifest, source=replace(manifest.source, checkpoint=name))


@pytest.fixture(scope="session")
def new(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is deployed; read-only."""
    return variant(shipped_bundle, tmp_path_factory.mktemp("new") / "new", renamed("new"))


@pytest.fixture(scope="session")
def old(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What robots run before; read-only."""
    return variant(shipped_bundle, tmp_path_factory.mktemp("old") / "old", renamed("old"))


class Robot:
    """A place on the robot's side in which the old bundle is current."""

    def __init__(self, root: Path, old: Path, new: Path) -> None:
        self.root = root
        self.old, self.new = Bundle(old).digest, Bundle(new).digest
        shutil.copytree(old, root / "bundles" / self.old)
        (root / "current").symlink_to(f"bundles/{self.old}")

    def current(self) -> str:
        """The digest that ``current`` leads to, of a bundle that is whole there."""
        return Bundle(self.root / "current").digest

    @property
    def verified(self) -> bool:
        """Whether the new bundle's activation is on record."""
        return (self.root / "bundles" / f"{self.new}.json").exists()

    def require_old_or_verified(self) -> None:
        """What holds at every moment: looked at in an order in which a switch between two looks shows."""
        link = (self.root / "current").readlink()
        assert link.name == self.old or (link.name == self.new and self.verified)
        assert (self.root / link / "manifest.sha256").exists()

    def arrived(self) -> int:
        """Bytes of the new bundle's copy."""
        try:
            return sum(path.stat().st_size for path in (self.root / "incoming" / self.new).iterdir())
        except FileNotFoundError:
            return 0

    @property
    def settled(self) -> bool:
        """Whether the copy is complete and its digests were checked."""
        return (self.root / "bundles" / self.new).exists()


@pytest.fixture
def robot_side(tmp_path: Path, old: Path, new: Path) -> Robot:
    return Robot(tmp_path / "the robot's", old, new)


class Workstation:
    """``wall-edge deploy`` in a process group of its own."""

    def __init__(self, server: SshServer, robot: Robot, bundle: Path, scratch: Path) -> None:
        self._server, self._robot = server, robot
        self.bundle = bundle
        self._environment = {**os.environ, "TMPDIR": str(scratch)}

    def start(self, *options: str, **ssh: Any) -> subprocess.Popen[str]:
        """The command, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "wall_edge", *self._words(*options, **ssh)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            start_new_session=True,
        )

    def _words(self, *options: str, place: Path | None = None, **ssh: Any) -> list[str]:
        return [
            *("deploy", str(self.bundle), self._server.destination),
            *("--at", str(place or self._robot.root), "--json"),
            *([] if "--command" in options else ["--command", COMMAND]),
            *options,  # of ssh's options the first ones hold
            *self._server.options(**ssh),
        ]

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Exit code, stdout and the error line, or what else came last on stderr."""
        try:
            out, errors = process.communicate(timeout=3 * PATIENCE_S)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise
        lines = errors.strip().splitlines()
        return process.returncode, out, next((line for line in lines if line.startswith("error: ")), "")

    def deploy(self, *options: str, **ssh: Any) -> dict[str, Any]:
        """The report of one that must go well."""
        code, out, error = self.finish(self.start(*options, **ssh))
        assert (code, error) == (0, "")
        report: dict[str, Any] = json.loads(out)
        return report

    def refused(self, *options: str, **ssh: Any) -> str:
        """The error line of one that must not."""
        done = CliRunner().invoke(app, self._words(*options, **ssh))
        assert isinstance(done.exception, WallEdgeError), done.output
        assert done.stdout == ""
        return str(done.exception)


@pytest.fixture
def workstation(server: SshServer, robot_side: Robot, new: Path, tmp_path: Path) -> Workstation:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Workstation(server, robot_side, new, scratch)


def kill_group(process: subprocess.Popen[str]) -> None:
    """kill -9 of the workstation's whole side."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def until(condition: Callable[[], bool], watch: Callable[[], None] = lambda: None) -> None:
    """Wait for it, and look at something meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        watch()
        time.sleep(0.005)
