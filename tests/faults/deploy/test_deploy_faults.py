"""What a deploy must refuse or survive besides being killed, through a real ssh server."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.deploy.conftest import Robot, Workstation, kill_group, until, variant
from tests.machines.ssh_server import SshServer
from wall_edge.bundle import FORMAT_VERSION, Manifest, Tolerance
from wall_edge.deploy.messages import MARK


def scripted(program: str) -> str:
    """A robot whose ``wall-edge`` is a few lines of Python."""
    return shlex.join([sys.executable, "-c", program])


def test_a_deploy_from_end_to_end(robot_side: Robot, workstation: Workstation) -> None:
    report = workstation.deploy()
    activation = report["activation"]
    assert (report["transfer"], report["files"], report["again"]) == ("rsync", 12, [])
    assert report["copied_bytes"] == sum(path.stat().st_size for path in workstation.bundle.iterdir())
    assert activation["previous"] == str(robot_side.root / "bundles" / robot_side.old)
    assert activation["folder"] == str(robot_side.root / "bundles" / robot_side.new)
    assert (robot_side.root / "current").readlink() == Path("bundles") / robot_side.new
    assert activation["stages"]["velocity"]["stages"] == 10
    assert 0 < activation["stages"]["velocity"]["worst"] < activation["stages"]["velocity"]["tolerance"]
    again = workstation.deploy()
    assert (again["transfer"], again["copied_bytes"]) == (None, 0)


@pytest.mark.parametrize("transfer", ["rsync", "sftp"])
def test_what_was_damaged_there_is_copied_again(
    transfer: str, robot_side: Robot, workstation: Workstation
) -> None:
    """A whole file with a wrong bit, and the beginning of one: a copy that goes on would keep both."""
    incoming = robot_side.root / "incoming" / robot_side.new
    incoming.mkdir(parents=True)
    for name, share in (("expert.data", 1.0), ("vision.data", 0.5)):
        content = bytearray((workstation.bundle / name).read_bytes())
        content = content[: int(len(content) * share)]
        content[1000] ^= 1
        (incoming / name).write_bytes(content)
    report = workstation.deploy("--transfer", transfer)
    assert set(report["again"]) == {"expert.data", "vision.data"}
    assert robot_side.current() == robot_side.new


def test_a_bundle_that_fails_there_never_becomes_current(
    server: SshServer, robot_side: Robot, shipped_bundle: Path, tmp_path: Path
) -> None:
    def strict(manifest: Manifest) -> Manifest:
        limits = {**manifest.tolerances, "chunk": Tolerance("relative_l2", 1e-12)}
        return replace(manifest, tolerances=limits)

    bad = variant(shipped_bundle, tmp_path / "bad", strict)
    error = Workstation(server, robot_side, bad, tmp_path).refused()
    assert "1 of 29 stages past tolerance, most chunk: relative_l2" in error
    assert "expected at most 1e-12" in error
    assert robot_side.current() == robot_side.old


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """90 MB: more than is asked for, less than it takes when another fills it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs root and mount(8)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, old: Path, new: Path, server: SshServer, tmp_path: Path) -> None:
    """Full from the beginning it is refused before anything is copied; full on the way it goes on later."""
    robot = Robot(small_disk / "place", old, new)
    workstation, filler = Workstation(server, robot, new, tmp_path), small_disk / "filler"
    filler.write_bytes(bytes(40 << 20))
    error = workstation.refused()
    assert "MB of disk are free; expected 12 MB to copy + 0 MB of engines + 67 MB = 79 MB" in error
    assert robot.arrived() == 0
    filler.unlink()
    process = workstation.start("--limit", "2000")  # six seconds, to be filled in
    until(lambda: robot.arrived() > 0)
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(90 << 20))
    code, _, error = workstation.finish(process)
    assert code == 1
    assert "rsync ended with code" in error
    assert "No space left on device" in error
    assert robot.current() == robot.old
    filler.unlink()
    workstation.deploy()
    assert robot.current() == robot.new


def test_a_place_that_cannot_be_written(workstation: Workstation) -> None:
    error = workstation.refused(place=Path("/proc/no"))
    assert "/proc/no" in error
    assert "expected a folder that can be written" in error


def test_no_such_host(workstation: Workstation) -> None:
    error = workstation.refused("--ssh-option", "HostName=no-such-host.invalid")
    assert "no such host" in error


def test_no_server(workstation: Workstation) -> None:
    assert "no ssh server listens there" in workstation.refused("--ssh-option", "Port=1")


def test_a_host_that_nobody_has_compared(workstation: Workstation) -> None:
    error = workstation.refused(hosts="nobody")
    assert "its host key is unknown here" in error
    assert "log in once by hand" in error


def test_a_host_that_is_another_than_before(server: SshServer, workstation: Workstation) -> None:
    kind, key, _ = (server.folder / "stranger.pub").read_text().split()
    (server.folder / "other_hosts").write_text(f"robot {kind} {key}\n")
    assert "its host key is another than before" in workstation.refused(hosts="other_hosts")


def test_a_host_that_would_ask_for_a_password(workstation: Workstation) -> None:
    error = workstation.refused(key="stranger")
    assert "ssh would ask for a password" in error
    assert "ssh-copy-id" in error


def test_no_wall_edge_there(workstation: Workstation) -> None:
    error = workstation.refused("--command", "no-such-wall-edge")
    assert "no-such-wall-edge is not there" in error
    assert "pip install 'wall-edge[onnxruntime]' there" in error


def test_a_wall_edge_that_knows_no_deploy(workstation: Workstation) -> None:
    old = "import sys; print(\"Error: No such command 'activate'.\", file=sys.stderr); sys.exit(2)"
    error = workstation.refused("--command", scripted(old))
    assert "does not know deploy (Error: No such command 'activate'.)" in error
    assert "upgrade it" in error


def test_another_format_there(workstation: Workstation) -> None:
    hello = {"kind": "hello", "version": "9", "format_version": 99, "rsync": ""}
    says = f"import json; print({MARK!r} + json.dumps({hello!r}), flush=True); input()"
    error = workstation.refused("--command", scripted(says))
    assert "wall-edge 9 there reads bundles of format 99" in error


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("'x' * (3 << 20)", "a line without end"),
        (f"{MARK!r} + '[' * 9000", "what the robot said"),
        (f'{MARK!r} + \'{{"kind": "boo"}}\'', "what the robot said"),
        (
            f"{MARK!r} + json.dumps({{'kind': 'failed', 'error': '\\x1b]0;title\\x07\\n[red]'}})",
            "\\x1b]0;title\\x07 [red]",
        ),
    ],
)
def test_hostile_words(says: str, expected: str, workstation: Workstation) -> None:
    """What a robot prints is text: none of its control codes reaches the terminal, and it has an end."""
    error = workstation.refused("--command", scripted(f"import json; print({says}, flush=True)"))
    assert expected in error
    assert "\x1b" not in error


def test_a_robot_that_asks_for_another_file(workstation: Workstation) -> None:
    hello = {"kind": "hello", "version": "0.1.0", "format_version": FORMAT_VERSION, "rsync": "3.2.7"}
    for name, expected in (("../secret", "a plain file name"), ("id_ed25519", "not in the bundle")):
        asks = {"kind": "awaiting", "folder": "/tmp", "missing": {name: 0}, "damaged": []}
        lines = f"[{hello!r}, {asks!r}]"
        program = f"import json\nfor line in {lines}: print({MARK!r} + json.dumps(line), flush=True)\ninput()"
        assert expected in workstation.refused("--command", scripted(program))


def test_a_network_that_is_lost_without_a_word(
    server: SshServer, robot_side: Robot, workstation: Workstation
) -> None:
    """No connection ends: the robot's side misses the workstation, ends, and so frees the lock."""
    impatient = (
        "from wall_edge.deploy import session\n"
        "session.SILENCE_S = 20.0\n"  # a minute; the workstation says something every five seconds
        "from wall_edge.__main__ import main\n"
        "main()"
    )
    alive = ("--ssh-option", "ServerAliveInterval=4", "--ssh-option", "ServerAliveCountMax=1")
    process = workstation.start("--command", scripted(impatient), "--limit", "600", *alive)
    until(lambda: robot_side.arrived() > 0)
    server.network.lose()
    code, _, error = workstation.finish(process)
    assert (code, bool(error)) == (1, True)
    assert server.processes("activate", robot_side.root.name)
    workstation.deploy()
    assert robot_side.current() == robot_side.new
    assert not server.processes("activate", robot_side.root.name)


def test_ctrl_c(server: SshServer, robot_side: Robot, workstation: Workstation) -> None:
    """One word here, and nothing goes on there."""
    process = workstation.start("--limit", "2000")
    until(lambda: robot_side.arrived() > 0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1]) == (130, "interrupted")
    until(lambda: not server.processes("activate", robot_side.root.name))
    assert robot_side.current() == robot_side.old
    assert 0 < workstation.deploy()["copied_bytes"] < 11_900_000


def test_two_deploys_to_one_robot_take_turns(robot_side: Robot, workstation: Workstation) -> None:
    processes = [workstation.start("--limit", "12000") for _ in range(2)]
    try:
        reports = [workstation.finish(process) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                kill_group(process)
    assert [code for code, _, _ in reports] == [0, 0]
    assert sum('"transfer": null' in out for _, out, _ in reports) == 1
    assert robot_side.current() == robot_side.new
