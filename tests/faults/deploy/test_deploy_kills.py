"""A deploy that is killed at any moment, on either side or between: the same command ends it, and until the
new bundle has verified the old one is whole and current.

Twenty moments, from a seed: some at a share of the bytes copied, some at a share of a whole deploy's time, some
just behind a step on the robot (the copy complete, the new bundle verified, the link switched).
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
from tests.ssh_server import SshServer

TRIALS = 20
SEED = 12
LIMIT_KB = 12_000
"""A copy takes a second then."""
WHOLE_S = 3.0
"""About what a deploy takes on an idle machine; a busy one is hit earlier in it, which is as good."""
VICTIMS = ("workstation", "robot", "copy", "sshd", "network")


class Moment(NamedTuple):
    """``step``: ``bytes``, ``time``, ``settled``, ``verified`` or ``switched``; ``share`` of it, or seconds after."""

    step: str
    share: float


def plan(number: int) -> tuple[Moment, str, str]:
    """When trial ``number`` is hit, what is, and how it copies. Every kind of moment meets every victim."""
    drawn = random.Random(f"{SEED} {number}")
    step = ("bytes", "bytes", "time", "time", ("settled", "verified", "switched")[number // 4 % 3])[number % 5]
    share = drawn.random() if step in ("bytes", "time") else drawn.random() * 0.4
    return Moment(step, share), VICTIMS[number // 4 % 5], ("rsync", "sftp")[number % 2]


@pytest.mark.parametrize("number", range(TRIALS))
def test_a_killed_deploy_goes_on(
    number: int, server: SshServer, robot_side: Robot, workstation: Workstation
) -> None:
    moment, victim, transfer = plan(number)
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
    total = 11_900_000
    start = time.monotonic()
    reached: dict[str, Callable[[], bool]] = {
        "bytes": lambda: robot.arrived() >= moment.share * total or robot.settled,
        "time": lambda: time.monotonic() - start >= moment.share * WHOLE_S,
        "settled": lambda: robot.settled,
        "verified": lambda: robot.verified,
        "switched": lambda: (robot.root / "current").readlink().name == robot.new,
    }
    step = reached[moment.step]
    until(lambda: step() or process.poll() is not None, robot.require_old_or_verified)
    if moment.step not in ("bytes", "time"):
        end = time.monotonic() + moment.share
        until(lambda: time.monotonic() >= end or process.poll() is not None, robot.require_old_or_verified)


def _hit(victim: str, process: subprocess.Popen[str], server: SshServer, robot: Robot) -> None:
    """The workstation's processes, the robot's, its end of the copy, its ssh sessions, or the cable."""
    if victim == "workstation":
        with suppress(ProcessLookupError):
            kill_group(process)
    elif victim == "network":
        server.network.cut()
    else:
        words = {"robot": ["activate", str(robot.root)], "copy": [], "sshd": []}[victim]
        pids = server.processes(*words)
        if victim == "copy":
            pids = [*server.processes("rsync", "--server"), *server.processes("sftp-server")]
        if victim == "sshd":  # of this robot's sessions only: other tests have theirs on the same server
            pids = [_parent(pid) for pid in server.processes("activate", str(robot.root))] + pids
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return int(file.read().rpartition(")")[2].split()[1])


def _ending(process: subprocess.Popen[str], workstation: Workstation) -> tuple[int, str, str]:
    if process.stdout is not None and process.stdout.closed:
        return process.returncode, "", ""
    return workstation.finish(process)
