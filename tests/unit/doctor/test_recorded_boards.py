"""Every recorded board: exactly its findings, none missed and no false alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recorded import BOARDS, NAMES, PYTHON, copied, link, machine, robot_file
from wall_edge.doctor import CHECKS, diagnose

NO_RT = ("note", "realtime-kernel")
FINDINGS = {
    "agx-orin-32": [NO_RT],
    "agx-orin-64": [NO_RT],
    "agx-orin-64-jetpack-7.2": [NO_RT],
    "agx-orin-64-realtime": [],
    "agx-orin-64-server-tensorrt": [("error", "tensorrt-gpu"), ("warning", "tensorrt"), NO_RT],
    "agx-orin-64-faults": [
        ("warning", "power-mode"),
        ("warning", "clocks"),
        ("warning", "throttling"),
        ("warning", "power-supply"),
        ("warning", "power-supply"),
        ("warning", "limits"),
        ("warning", "limits"),
        ("warning", "groups"),
        ("warning", "groups"),
        ("warning", "latency-timer"),
        ("warning", "usb-driver"),
        ("warning", "usb-driver"),
        ("warning", "brltty"),
        NO_RT,
        ("note", "can-interface"),
    ],
    "orin-nano-8": [
        ("warning", "power-mode"),
        ("warning", "clocks"),
        ("warning", "swap"),
        ("note", "swap"),
        ("note", "desktop"),
        NO_RT,
    ],
    "orin-nx-16": [NO_RT],
    "thor": [NO_RT],
    "workstation": [NO_RT],
}


def findings(root: Path, robot: Path | None = None) -> list[tuple[str, str]]:
    return [(finding.severity, finding.check) for finding in diagnose(machine(root, robot)).findings]


def test_every_tree_is_expected_something_of() -> None:
    assert sorted(FINDINGS) == list(NAMES)


@pytest.mark.parametrize("board", NAMES)
def test_a_board_has_exactly_its_findings(board: str) -> None:
    assert findings(BOARDS / board) == FINDINGS[board]


@pytest.mark.parametrize("board", ["agx-orin-64", "workstation"])
def test_a_robot_that_is_plugged_in_adds_none(board: str, tmp_path: Path) -> None:
    assert findings(BOARDS / board, robot_file(tmp_path)) == [NO_RT]


def test_a_robot_on_its_isolated_core_adds_none(tmp_path: Path) -> None:
    robot = robot_file(tmp_path, control={"cpu": 3})
    assert findings(BOARDS / "agx-orin-64-realtime", robot) == []


def test_faults_that_only_a_robot_meets(tmp_path: Path) -> None:
    seen = findings(BOARDS / "agx-orin-64-faults", robot_file(tmp_path))
    assert ("error", "groups") in seen  # its serial port is nobody's but dialout's
    assert ("warning", "modem-manager") in seen
    assert ("note", "latency-timer") in seen  # of another adapter than the robot's
    assert ("warning", "latency-timer") not in seen


def test_what_does_not_apply_is_not_called_checked(tmp_path: Path) -> None:
    board, desk = diagnose(machine(BOARDS / "agx-orin-64")), diagnose(machine(BOARDS / "workstation"))
    assert {"jetpack", "power-mode"} <= set(board.checked)
    assert not {"jetpack", "power-mode", "serial-port", "python-cuda"} & set(desk.checked)
    whole = diagnose(machine(BOARDS / "agx-orin-64", robot_file(tmp_path), PYTHON))
    assert set(whole.checked) == set(CHECKS)


def test_the_worst_comes_first() -> None:
    order = [severity for severity, _ in FINDINGS["agx-orin-64-faults"]]
    assert order == sorted(order, key=["error", "warning", "note"].index)


def test_a_container_on_jetpack_7_2_without_the_dla_compiler(tmp_path: Path) -> None:
    root = copied("agx-orin-64-jetpack-7.2", tmp_path)
    (root / "usr/lib/aarch64-linux-gnu/nvidia/libnvdla_compiler.so").unlink()
    (root / ".dockerenv").touch()
    assert findings(root) == [("error", "dla-compiler"), ("note", "container"), NO_RT]


def test_orin_on_jetpack_6_needs_the_dla_compiler_too(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    (root / "usr/lib/aarch64-linux-gnu/nvidia/libnvdla_compiler.so").unlink()
    assert findings(root) == [("error", "dla-compiler"), NO_RT]


def test_a_library_that_is_a_link_to_nothing_is_missing(tmp_path: Path) -> None:
    root = copied("agx-orin-64-jetpack-7.2", tmp_path)
    link(root, "/usr/lib/aarch64-linux-gnu/nvidia/libnvdla_compiler.so", "/opt/gone.so")
    assert ("error", "dla-compiler") in findings(root)
