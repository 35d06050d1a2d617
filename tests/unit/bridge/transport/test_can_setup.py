"""``wall-edge can setup``: what it prints for boards and robots, and what --apply runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner
from wall_edge_bridge.drives.settings import CanSettings
from wall_edge_bridge.transport import can_link
from wall_edge_bridge.transport.can_link import CanLink

from tests.recorded import BOARDS
from wall_edge.cli import app
from wall_edge.cli.machine import can
from wall_edge.errors import BusError, ConfigError

LINES = [
    "ip link set can0 down",
    "ip link set can0 type can bitrate 1000000 dbitrate 5000000 fd on restart-ms 100",
    "ip link set can0 txqueuelen 1000",
    "ip link set can0 up",
]
OPTIONS = ("--data-bitrate", "5000000")


def run(*arguments: object) -> list[str]:
    done = CliRunner().invoke(app, ["can", "setup", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout.splitlines()


def test_lines_and_the_pins_of_an_agx_orin() -> None:
    lines = run(*OPTIONS, "--root", BOARDS / "agx-orin-64")
    assert lines[:4] == [f"sudo {line}" for line in LINES]
    assert "sudo busybox devmem 0x0c303018 w 0xc458" in lines
    assert "3.3 V transceiver" in lines[5]
    at_each_start = "udev --can --interface can0 --bitrate 1000000 --data-bitrate 5000000 | sudo sh"
    assert lines[-1].endswith(at_each_start)


def test_an_orin_nx_needs_no_pins_and_its_driver() -> None:
    lines = run("--root", BOARDS / "orin-nx-16", "--bitrate", 500_000)
    assert not any("devmem" in line for line in lines)
    assert "sudo ip link set can0 type can bitrate 500000 restart-ms 100" in lines


def test_an_interface_that_is_not_there_is_said() -> None:
    lines = run("--channel", "can7", "--root", BOARDS / "workstation")
    assert lines[0].startswith("# can7 is not there: plug its adapter in")


def test_the_channels_of_a_robot(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = {"can3": (500_000, None), "can4": (1_000_000, 2_000_000)}
    monkeypatch.setattr(can, "_channels", lambda _: channels)
    text = "\n".join(run("ROBOT.yaml", "--root", BOARDS / "workstation"))
    assert "can3 type can bitrate 500000 restart-ms" in text
    assert "can4 type can bitrate 1000000 dbitrate 2000000 fd on" in text


def test_a_robot_without_can_interfaces(tmp_path: Path) -> None:
    example = Path(__file__).parents[4] / "examples" / "so101" / "robot.yaml"
    robot = tmp_path / "ROBOT.yaml"
    robot.write_text(example.read_text())
    with pytest.raises(ConfigError, match="so101 has no drive on a CAN interface"):
        run(robot)


def test_settings_of_a_robot_become_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    import wall_edge.config

    drives = {"arm": CanSettings("any", channel="can2", bitrate=500_000)}
    config = SimpleNamespace(name="r", simulated=False, drives=drives)
    monkeypatch.setattr(wall_edge.config, "load_robot", lambda _: config)
    assert can._channels(Path("r")) == {"can2": (500_000, None)}
    config.simulated = True
    with pytest.raises(ConfigError, match="r is simulated"):
        can._channels(Path("r"))


@pytest.mark.parametrize("arguments", [("--channel", "a b"), ("--channel", "x; reboot"), ("--bitrate", "5")])
def test_arguments_that_cannot_be_meant(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        run(*arguments)


# --- --apply -----------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was run, instead of running it."""
    path = tmp_path / "log"
    for name in ("ip", "sudo"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> {path}\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return path


def test_apply_runs_the_ip_lines_and_nothing_else(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up = CanLink("can0", True, True, True, 1_000_000, 5_000_000)
    monkeypatch.setattr(can_link, "read_link", lambda _: up)
    lines = run(*OPTIONS, "--apply")
    assert log.read_text().splitlines() == LINES
    assert lines == [
        *(f"{line}: done" for line in LINES),
        "can0: up, 1000000 bit/s, CAN FD at 5000000 bit/s",
    ]


def test_apply_asks_sudo_for_who_is_not_root(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(can_link, "read_link", lambda _: CanLink("can0", True, True, True))
    run(*OPTIONS, "--apply")
    assert log.read_text().splitlines() == [f"sudo {line}" for line in LINES]


def test_apply_stops_at_the_first_failure(log: Path) -> None:
    tool = log.with_name("ip")
    tool.write_text(tool.read_text() + 'case "$*" in *type*) echo "RTNETLINK: no" >&2; exit 2;; esac\n')
    with pytest.raises(BusError, match="can0 was not set up: RTNETLINK: no"):
        run(*OPTIONS, "--apply")
    assert log.read_text().splitlines() == LINES[:2]


def test_apply_says_when_the_interface_is_not_as_it_should_be(
    log: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(can_link, "read_link", lambda _: CanLink("can0", True, True, True, 500_000))
    with pytest.raises(BusError, match="can0 has another bit rate"):
        run(*OPTIONS, "--apply")


def test_apply_is_for_this_machine() -> None:
    with pytest.raises(ConfigError, match="--apply with --root"):
        run("--apply", "--root", BOARDS / "workstation")
