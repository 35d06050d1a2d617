"""Every fix that begins with a command can be pasted whole: words stand behind ``#`` and reach no command."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recorded import BOARDS, NAMES, PYTHON, copied, machine, robot_file
from tests.unit.doctor.test_faults import FAULTS
from wall_edge.doctor import Finding, diagnose

COMMANDS = ("sudo", "echo", "pip", "python3", "wall-edge")


def pasted(findings: tuple[Finding, ...]) -> Iterator[str]:
    for finding in findings:
        assert "\n" not in finding.fix + finding.what
        if finding.fix.split()[0] in COMMANDS:
            yield finding.fix


def require_a_command(fix: str) -> None:
    done = subprocess.run(["bash", "-n"], input=fix, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (fix, done.stderr)
    words = shlex.split(fix, comments=True)
    assert not [word for word in words if word.endswith((",", ":"))], fix
    assert not {"then", "or", "with"} & set(words), fix
    assert " > /" not in fix, fix  # the shell would write, not sudo


@pytest.mark.parametrize("board", NAMES)
def test_fixes_of_recorded_boards(board: str, tmp_path: Path) -> None:
    for robot in (None, robot_file(tmp_path)):
        for fix in pasted(diagnose(machine(BOARDS / board, robot, PYTHON)).findings):
            require_a_command(fix)


@pytest.mark.parametrize("fault", FAULTS)
def test_fixes_of_seeded_faults(fault: str, tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    FAULTS[fault][0](root)
    for fix in pasted(diagnose(machine(root, robot_file(tmp_path), PYTHON)).findings):
        require_a_command(fix)


@pytest.mark.parametrize(
    ("board", "driver"), [("agx-orin-64-jetpack-7.2", "nvgpu"), ("thor", "openrm"), ("orin-nx-16", None)]
)
def test_the_real_time_kernel_s_gpu_module_is_a_package_since_release_38(
    board: str, driver: str | None
) -> None:
    (fix,) = [one.fix for one in diagnose(machine(BOARDS / board)).findings if one.check == "realtime-kernel"]
    assert [word for word in fix.split() if word.startswith("nvidia-l4t-rt-kernel-")][2:] == (
        [f"nvidia-l4t-rt-kernel-{driver}"] if driver else []
    )
