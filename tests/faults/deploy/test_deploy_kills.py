"""A deploy that is killed at any moment, on either side or between: the same command ends it, and until the
new bundle has verified the old one is whole and current.

Twenty moments, from a seed: some at a share of the bytes copied, some of the time, some just behind
a step on the robot (the copy complete, the new bundle verified, the link switched).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import pytest

from tests.faults.deploy.conftest import Robot, Workstation, kill_group, until
from tests.machines.ssh_server import SshServer

SEED = 12
LIMIT_KB = 12_000
"""A copy takes a second then."""
BUNDLE_BYTES = 11_900_000
CONNECTED_S = 1.6
"""Of a deploy's 2.6 s on an idle machine; what is behind it has moments of its own."""
AFTER_S = {"settled": 0.25, "verified": 0.05, "switched": 0.05}
TRIALS = (
    *[("bytes", victim) for victim in ("workstation", "workstation", "robot", "copy", "copy", "sshd")],
    *[("bytes", "network"), ("bytes", "network"), ("time", "workstation"), ("time", "robot")],
    *[("time", "network"), ("time", "sshd"), ("settled", "workstation"), ("settled", "workstation")],
    *[("settled", "robot"), ("settled", "network"), ("verified", "workstation")],
    *[("verified", "robot"), ("switched", "workstation"), ("switched", "sshd")],
)
"""What the moment is counted from, and what is hit."""


class Moment(NamedTuple):
    """A ``share`` from 0 to 1 of the bytes, of the time, or of a while behind a ``step`` on the robot."""

    step: str
    share: float


@pytest.mark.parametrize("number", range(len(TRIALS)))
def test_a_killed_deploy_goes_on(
    number: int, server: SshServer, robot_side: Robot, workstation: Workstation
) -> None:
    step, victim = TRIALS[number]
    moment, transfer = Moment(step, random.Random(f"{SEED} {number}").random()), ("rsync", "sftp")[number % 2]
    process = workstation.start("--transfer", transfer, "--limit", str(LIMIT_KB))
    _await(moment, process, robot_side)
    _hit(victim, process, server, robot_side)
    code, _, error = _ending(process, workstation)
    robot_side.require_old_or_verified()
    assert robot_side.current() in (robot_side.old, robot_side.new)
    if victim != "workstation" and code != 0:
        assert code == 1
        assert error, "an end without a reason"
    copied = robot_side.arrived()

    report = workstation.deploy("--transfer", transfer)
    assert report["activation"]["digest"] == robot_side.current() == robot_side.new
    total = sum(path.stat().st_size for path in (robot_side.root / "bundles" / robot_side.new).iterdir())
    assert report["copied_bytes"] <= total - copied, "what had arrived was copied again"
    assert report["again"] == []
    assert list((robot_side.root / "incoming").iterdir()) == []
    assert (robot_side.root / "bundles" / robot_side.old / "manifest.yaml").exists()


def _await(moment: Moment, process: subprocess.Popen[str], robot: Robot) -> None:
    start = time.monotonic()
    reached: dict[str, Callable[[], bool]] = {
        "bytes": lambda: robot.arrived() >= moment.share * BUNDLE_BYTES or robot.settled,
        "time": lambda: time.monotonic() - start >= moment.share * CONNECTED_S,
        "settled": lambda: robot.settled,
        "verified": lambda: robot.verified,
        "switched": lambda: (robot.root / "current").readlink().name == robot.new,
    }
    until(lambda: reached[moment.step]() or process.poll() is not None, robot.require_old_or_verified)
    if moment.step in AFTER_S:
        end = time.monotonic() + moment.share * AFTER_S[moment.step]
        until(lambda: time.monotonic() >= end or process.poll() is not None, robot.require_old_or_verified)


def _hit(victim: str, process: subprocess.Popen[str], server: SshServer, robot: Robot) -> None:
    """The workstation's processes, the robot's, its end of the copy, its ssh sessions, or the cable."""
    if victim == "workstation":
        with suppress(ProcessLookupError):
            kill_group(process)
    elif victim == "network":
        server.network.cut()
    else:
        pids = {
            "robot": lambda: server.processes("activate", robot.root.name),
            "copy": lambda: [*server.processes("rsync", "--server"), *server.processes("sftp-server")],
            "sshd": server.sessions,
        }[victim]()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _ending(process: subprocess.Popen[str], workstation: Workstation) -> tuple[int, str, str]:
    if process.stdout is not None and process.stdout.closed:
        return process.returncode, "", ""
    return workstation.finish(process)
