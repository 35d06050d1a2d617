"""The unit that ``wall-edge service`` prints: what systemd reads in it, and what it must keep."""

from __future__ import annotations

import getpass
import re
import shutil
import string
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result
from wall_edge_bridge.drives.joints import OffsetJoint
from wall_edge_bridge.drives.settings import CanSettings
from wall_edge_bridge.drives.values import Capabilities
from wall_edge_bridge.kinds import Kind, registry

from wall_edge.cli import app
from wall_edge.config import load_robot
from wall_edge.errors import ConfigError
from wall_edge.runtime.daemon.service.quoting import command_line, device_unit, plain_text, quoted
from wall_edge.runtime.daemon.service.unit import Account, unit_text
from wall_edge.runtime.daemon.shutdown import longest_way_s

SO101 = Path(__file__).parents[3] / "examples" / "so101" / "robot.yaml"
TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
AWKWARD = "push 100% of \"$HOME\" ${PATH} \\x25 'now'; # é \u202e"
ME = Account("root", ["dialout", "video"])


def service(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["service", *arguments])


def settings(unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w+=", line))


def words(line: str) -> list[str]:
    """As extract_first_word() of systemd reads a command line: quotes, C escapes, ``%%``."""
    result, rest = [], line
    while rest := rest.strip(" "):
        match = re.match(r'"((?:[^"\\]|\\.)*)"(?: |$)|([^" \\]+)(?: |$)', rest)
        assert match is not None, rest
        result.append(_unescaped(match[1]) if match[1] is not None else match[2])
        rest = rest[match.end() :]
    return result


def _unescaped(text: str) -> str:
    escaped = {r"\\": b"\\", r"\"": b'"', "%%": b"%"}
    data = re.sub(
        rb'\\x([0-9a-f]{2})|\\\\|\\"|%%',
        lambda match: bytes.fromhex(match[1].decode()) if match[1] else escaped[match[0].decode()],
        text.encode("utf-8"),
    )
    return data.decode("utf-8", "surrogateescape")


def awkward_robot(folder: Path) -> Path:
    folder.mkdir()
    data = yaml.safe_load(SO101.read_text())
    data["name"] = "100% \\"
    data["drives"]["arm"]["port"] = "/dev/serial/by-id/usb-1a86_USB 2.0-if00"
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_any_word_survives_quoting(word: str) -> None:
    if word:
        assert words(quoted(word)) == [word]
    assert all(character.isprintable() for character in quoted(word))


def test_bytes_that_are_no_text_survive_too() -> None:
    assert words(quoted("/home/\udcff/robot.yaml")) == ["/home/\udcff/robot.yaml"]


def test_no_variable_is_looked_up() -> None:
    """``$`` stays as it is behind a ``:``; doubling it would not, in the program's name."""
    assert command_line(["/opt/$a/python", "$HOME"]) == ':"/opt/$a/python" "$HOME"'


@pytest.mark.parametrize(
    "path", ["/dev/ttyACM0", "/dev/serial/by-id/usb-a b%é.0", "/dev//x/", "/.hidden", "/dev/serial/.x:_"]
)
def test_devices_are_named_as_systemd_names_them(path: str) -> None:
    if shutil.which("systemd-escape") is None:
        pytest.skip("no systemd-escape on this machine")
    command = ["systemd-escape", "--path", "--suffix=device", path]
    assert (
        device_unit(path)
        == subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    )


def test_the_unit_of_a_robot(tmp_path: Path) -> None:
    robot = awkward_robot(tmp_path / 'a $b %n "c"')
    printed = service(str(robot), "--instruction", AWKWARD, "--events", str(tmp_path / "events.jsonl"))
    assert printed.exit_code == 0, printed.output
    unit = settings(printed.stdout)
    assert words(unit["ExecStart"].removeprefix(":")) == [
        *(sys.executable, "-m", "wall_edge", "run", str(robot)),
        *(f"--instruction={AWKWARD}", f"--events={tmp_path / 'events.jsonl'}"),
    ]
    assert words(unit["ExecStopPost"].removeprefix(":"))[-4:] == ["-m", "wall_edge", "release", str(robot)]
    assert unit["User"] == getpass.getuser()
    assert unit["Description"] == "wall-edge on the robot 100%% ? (wall-edge run)"
    assert unit["Wants"] == unit["After"] == r"dev-serial-by\x2did-usb\x2d1a86_USB\x202.0\x2dif00.device"
    assert (unit["LimitRTPRIO"], unit["LimitMEMLOCK"]) == ("80", "infinity")


def test_nothing_is_killed_before_the_arm_could_come_to_rest(tmp_path: Path) -> None:
    """A slower arm gets more time; no signal but SIGTERM, to all; nobody starts it again unseen."""
    config = load_robot(SO101)
    unit = settings(unit_text(config, SO101, ME, "/usr/bin/python3"))
    assert int(unit["TimeoutStopSec"]) > int(unit["TimeoutAbortSec"]) > longest_way_s(config)
    fixed = {
        name: unit[name] for name in ("KillMode", "KillSignal", "WatchdogSignal", "Restart", "NotifyAccess")
    }
    assert fixed == {
        "KillMode": "control-group",
        "KillSignal": "SIGTERM",
        "WatchdogSignal": "SIGTERM",
        "Restart": "no",
        "NotifyAccess": "main",
    }
    data = yaml.safe_load(SO101.read_text())
    data["control"]["rest_velocity"] = 0.05
    slow = tmp_path / "robot.yaml"
    slow.write_text(yaml.safe_dump(data))
    config = load_robot(slow)
    assert int(settings(unit_text(config, slow, ME, "/usr/bin/python3"))["TimeoutAbortSec"]) > longest_way_s(
        config
    )


@pytest.mark.parametrize(
    ("result", "code", "released"),
    [
        ("success", "exited", False),
        ("exit-code", "exited", False),  # a start that was refused leaves the torque as it found it
        ("watchdog", "exited", False),  # its signal was obeyed
        ("success", "killed", False),  # SIGTERM before Python had begun
        ("resources", "", False),
        *(("signal", "killed", True), ("core-dump", "dumped", True), ("oom-kill", "killed", True)),
        *(("timeout", "killed", True), ("watchdog", "killed", True)),
    ],
)
def test_torque_goes_off_behind_a_supervisor_that_was_killed(result: str, code: str, released: bool) -> None:
    unit = settings(unit_text(load_robot(SO101), SO101, ME, "/bin/echo"))
    environment = {"SERVICE_RESULT": result, "EXIT_CODE": code}
    command = words(unit["ExecStopPost"].removeprefix(":"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (f"-m wall_edge release {SO101}\n" if released else "")


def test_a_simulated_arm_has_no_torque_and_no_port() -> None:
    printed = service(str(TABLETOP))
    assert printed.exit_code == 0, printed.output
    assert {"ExecStopPost", "Wants"}.isdisjoint(settings(printed.stdout))


def test_systemd_finds_no_fault_in_it(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    robot = awkward_robot(tmp_path / "a $b %n")
    for number, arguments in enumerate(([str(robot), "--instruction", AWKWARD], [str(TABLETOP)])):
        unit = tmp_path / f"wall-edge-{number}.service"
        unit.write_text(service(*arguments).stdout)
        command = ["systemd-analyze", "verify", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere/robot.yaml"], "/nowhere/robot.yaml"),
        ([str(SO101)], "no instruction"),
        ([str(SO101), "--instruction", " "], "--instruction"),
        ([str(SO101), "--instruction", "x", "--user", "nobody-of-that-name"], "no user nobody-of-that-name"),
    ],
)
def test_what_would_not_start_is_refused(arguments: list[str], words: str) -> None:
    refused = service(*arguments)
    assert refused.exit_code == 1
    assert words in str(refused.exception)


def test_an_interpreter_that_systemd_does_not_start() -> None:
    with pytest.raises(ConfigError, match="which systemd refuses"):
        unit_text(load_robot(SO101), SO101, ME, '/opt/"a"/python')


def test_a_name_stays_on_its_line() -> None:
    assert plain_text("a\nUser=root\\") == "a?User=root?"
    assert all(plain_text(c) in string.printable for c in string.whitespace)


def test_it_waits_for_every_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serial ports by their files, CAN interfaces by their devices; an address or a socket is no device."""
    kind = Kind("other", CanSettings, OffsetJoint, Capabilities(), range(1, 128), "other_kind")
    monkeypatch.setitem(registry.KINDS, "other", "other_kind")
    monkeypatch.setitem(sys.modules, "other_kind", SimpleNamespace(KIND=kind))
    timing = SimpleNamespace(cycle_ns=lambda _, joints: 270_000 * len(joints))
    monkeypatch.setitem(sys.modules, "other_kind.timing", timing)
    data = yaml.safe_load(SO101.read_text())
    data["drives"] |= {
        "left": {"kind": "other", "channel": "can0"},
        "right": {"kind": "other", "channel": "/dev/ttyACM1", "interface": "slcan"},
        "far": {"kind": "other", "channel": "239.0.0.1", "interface": "udp_multicast"},
    }
    data["joints"] = [{**joint, "drive": "arm"} for joint in data["joints"]]
    for index, drive in ((3, "left"), (4, "right"), (5, "far")):
        data["joints"][index]["drive"] = drive
        del data["joints"][index]["zero_ticks"]
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    unit = settings(unit_text(load_robot(path), path, ME, "/bin/echo"))
    expected = ["dev-ttyACM0.device", "dev-ttyACM1.device", "sys-subsystem-net-devices-can0.device"]
    assert unit["Wants"].split() == unit["After"].split() == expected
