"""What the daemon refuses, and what it survives, as a user meets it on the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.patience import patient_file

ROBOT = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
Edit = Callable[[dict[str, Any]], object]


def wall_edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wall_edge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def real(data: dict[str, Any], port: str, **drive: Any) -> None:
    """Make it a real robot: another port, real cameras, no simulation."""
    data["simulated"] = False
    data["drives"]["arm"].update(port=port, **drive)
    for number, name in enumerate(data["cameras"], 98):
        data["cameras"][name].update(kind="opencv", device=f"/dev/video{number}")
    del data["simulation"]
    data["instruction"] = "touch the red block."


@pytest.fixture
def run_edited(shipped_bundle: Path, tmp_path: Path) -> Callable[[Edit], str]:
    """Run the daemon for a moment with an edited ROBOT.yaml; it must fail in one line, which is returned."""

    def run(edit: Edit) -> str:
        data = patient_file(yaml.safe_load(ROBOT.read_text()))
        data["bundle"] = str(shipped_bundle)
        edit(data)
        path = tmp_path / "robot.yaml"
        path.write_text(yaml.safe_dump(data))
        done = wall_edge("run", str(path), "--seconds", "60")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.stderr
        return errors[0]

    return run


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda d: d["control"].update(rate_hs=250), "did you mean 'rate_hz'"),
        (lambda d: d["joints"][0].update(lower=3.0), "lower"),
        (lambda d: d["joints"][0].update(name="waist"), "the bundle's shoulder_pan"),
        (lambda d: d["cameras"]["face_view"].update(width=85), "face_view"),
        (lambda d: d["cameras"].pop("wrist_view"), "wrist_view"),
        (lambda d: d.update(bundle="/nowhere"), "/nowhere: no such folder; expected a bundle folder"),
        (lambda d: real(d, "/dev/ttyNONE"), "/dev/ttyNONE"),
        (lambda d: real(d, "/dev/ttyNONE", baudrate=0), "baudrate"),
        (lambda d: d.update(simulated=False), "drives.arm.port is missing"),
        (
            lambda d: d["cameras"]["face_view"].update(rate_hz=0.1, timeout_ms=1000),
            "face_view delivered no frame",
        ),
    ],
)
def test_a_robot_that_cannot_run(run_edited: Callable[[Edit], str], edit: Edit, named: str) -> None:
    message = run_edited(edit)
    assert named in message
    assert "; " in message  # what was given, then what was expected or what to do


def test_a_missing_robot_file() -> None:
    done = wall_edge("run", "/nowhere/robot.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: /nowhere/robot.yaml")
    assert done.stderr.count("\n") == 1


def test_export_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    done = wall_edge("export", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
