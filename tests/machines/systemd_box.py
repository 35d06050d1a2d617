"""A systemd of our own: the machine's, as process 1 of namespaces that end with the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SYSTEMD = next(
    (path for path in (Path("/usr/lib/systemd/systemd"), Path("/lib/systemd/systemd")) if path.exists()), None
)
_INIT = """
set -e
echo $$ > {cgroup}/cgroup.procs
exec unshare --mount --pid --fork --cgroup --uts --ipc --net --kill-child /bin/sh -ec '
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH={units} {systemd} --system --unit=default.target \\
  --log-target=console --show-status=no'
"""
_TARGETS = ("default", "sysinit", "basic", "shutdown", "multi-user")


class SystemdBox:
    """Units from ``folder``/units alone. Skips the test, with the reason, where none can be had."""

    def __init__(self, folder: Path) -> None:
        root = _cgroup_root()
        if SYSTEMD is None or shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("no systemd, unshare or nsenter on this machine")
        if os.geteuid() != 0 or root is None or not os.access(root, os.W_OK):
            pytest.skip("a systemd of our own needs root and a cgroup2 that can be written")
        self.units, self._log = folder / "units", folder / "systemd.log"
        self.units.mkdir()
        for target in _TARGETS:
            (self.units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n")
        self.cgroup = root / f"wall-edge-test-{os.getpid()}-{time.monotonic_ns()}"
        self.cgroup.mkdir()
        script = _INIT.format(cgroup=self.cgroup, units=self.units, systemd=SYSTEMD)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(["/bin/sh", "-c", script], stdout=log, stderr=log)
        self._pid = 0
        try:
            self._await_start()
        except BaseException:
            self.close()
            raise

    def _await_start(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                pytest.skip(f"no systemd of our own: {self._log.read_text().strip()[-300:]}")
            children = (
                Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            )
            self._pid = int(children[0]) if children else 0
            if self._pid and self.systemctl("is-active", "default.target").stdout == "active\n":
                return
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", "-t", str(self._pid), "--all", "systemctl", "--no-pager", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def show(self, unit: str) -> dict[str, str]:
        """Its properties."""
        return dict(
            line.split("=", 1) for line in self.systemctl("show", unit).stdout.splitlines() if "=" in line
        )

    def wait_until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.05)

    def close(self) -> None:
        """Ends all of its processes, and takes its cgroups away."""
        for pid in (self._pid, self._process.pid):
            if pid and self._process.poll() is None:
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 60
        folders = sorted(self.cgroup.rglob("*/"), key=lambda path: -len(path.parts))
        for folder in (*folders, self.cgroup):
            while folder.is_dir() and time.monotonic() < deadline:
                try:
                    folder.rmdir()
                except OSError:  # its last process is about to end
                    time.sleep(0.02)


def _cgroup_root() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None
