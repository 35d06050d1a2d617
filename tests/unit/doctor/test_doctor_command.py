"""``wall-edge doctor`` and ``wall-edge udev``: output, JSON, exit codes, and files that are anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.recorded import BOARDS, PYTHON, copied, link, machine, robot_file
from wall_edge.board import Tree
from wall_edge.cli import app
from wall_edge.doctor import CHECKS, diagnose, this_machine
from wall_edge.errors import ConfigError


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_a_healthy_board_ends_well(tmp_path: Path) -> None:
    code, output = run("doctor", robot_file(tmp_path), "--root", BOARDS / "agx-orin-64", "--user", "robot")
    assert code == 0
    assert output.startswith(
        "NVIDIA Jetson AGX Orin Developer Kit (p3701-0005), 61.4 GiB\n"
        "JetPack 6.2, L4T 36.4.3, TensorRT 10.3.0.30, CUDA 12.6.11, kernel 5.15.148-tegra\n"
        "power mode MAXN, clocks locked\n"
    )
    assert output.endswith("checks: 1 note\n")


def test_json_has_facts_findings_and_what_was_checked() -> None:
    code, output = run(
        "doctor", "--root", BOARDS / "agx-orin-64-server-tensorrt", "--user", "robot", "--json"
    )
    data = json.loads(output)
    assert code == 1
    assert data["ok"] is False
    assert data["facts"]["tensorrt"] == "10.13.3.9"
    assert (data["facts"]["is_jetson"], data["facts"]["clocks_locked"]) == (True, True)
    assert set(data["findings"][0]) == {"check", "severity", "what", "fix"}
    assert (data["findings"][0]["check"], data["findings"][0]["severity"]) == ("tensorrt-gpu", "error")
    assert set(data["checked"]) <= set(CHECKS)


def test_warnings_alone_end_well() -> None:
    code, output = run("doctor", "--root", BOARDS / "orin-nano-8", "--json")
    assert (code, json.loads(output)["ok"]) == (0, True)


def test_a_machine_that_is_no_jetson_is_told_so() -> None:
    code, output = run("doctor", "--root", BOARDS / "workstation")
    assert code == 0
    assert output.startswith("not a Jetson (kernel 6.8.0-45-generic): general checks only\n")


def test_this_machine_is_checked_without_a_traceback() -> None:
    code, output = run("doctor", "--json")
    assert code in (0, 1)
    assert {"disk", "realtime-kernel", "python-onnxruntime"} <= set(json.loads(output)["checked"])
    seen = this_machine(None, None)
    assert seen.python is not None
    assert seen.user is not None


def test_a_damaged_robot_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ROBOT.yaml").write_text("name: [")
    for command in ("doctor", "udev"):
        with pytest.raises(ConfigError, match="malformed YAML"):
            run(command, tmp_path / "ROBOT.yaml")
        with pytest.raises(ConfigError, match="nowhere"):
            run(command, tmp_path / "nowhere.yaml")


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    for command in ("doctor", "udev"):
        with pytest.raises(ConfigError, match="no such folder"):
            run(command, "--root", tmp_path / "nowhere")


def test_rules_of_nothing_say_so(tmp_path: Path) -> None:
    code, output = run("udev", "--root", tmp_path)
    assert code == 0
    assert "# No USB serial port is plugged in: no rule." in output


def test_control_codes_of_a_board_reach_no_terminal(tmp_path: Path) -> None:
    root = copied("agx-orin-64-faults", tmp_path)
    (root / "proc/device-tree/model").write_bytes(b"Jet\x1b[2Json\n\x07")
    link(root, "/sys/class/tty/ttyACM\x1b[31m", "nothing")
    code, output = run(
        "doctor", robot_file(tmp_path, port="/dev/ttyACM7"), "--root", root, "--user", "\x1b[1m"
    )
    assert code == 1
    assert "\x1b" not in output
    assert "\x07" not in output


def test_rules_are_printed(tmp_path: Path) -> None:
    code, output = run("udev", robot_file(tmp_path), "--root", BOARDS / "agx-orin-64")
    assert code == 0
    assert "sudo tee /etc/udev/rules.d/99-wall-edge.rules" in output
    assert 'SYMLINK+="wall-edge/so101-bus"' in output


def test_a_simulated_robot_has_no_rules() -> None:
    tabletop = BOARDS.parents[1] / "examples" / "tabletop" / "robot.yaml"
    with pytest.raises(ConfigError, match="is simulated"):
        run("udev", tabletop)
    code, output = run("doctor", tabletop, "--root", BOARDS / "workstation", "--json")
    assert "serial-port" not in json.loads(output)["checked"]
    assert code in (0, 1)  # its bundle may not be exported


def test_can_is_printed() -> None:
    code, output = run("udev", "--can", "--bitrate", 500000)
    assert code == 0
    assert "BitRate=500000" in output


FILES = sorted(
    f"/{path.relative_to(BOARDS / 'agx-orin-64-faults')}"
    for path in (BOARDS / "agx-orin-64-faults").rglob("*")
    if path.is_file() and not path.is_symlink()
)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(FILES),
    content=st.one_of(st.binary(max_size=300), st.integers().map(lambda n: str(n).encode())),
)
def test_no_content_of_any_file_raises(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("board")
    root = copied("agx-orin-64-faults", folder)
    Tree(root).path(name).write_bytes(content)
    diagnose(machine(root, robot_file(folder, policy={"engine": "tensorrt", "device": "cuda"}), PYTHON))
