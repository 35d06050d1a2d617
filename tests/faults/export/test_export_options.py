"""``wall-edge export`` asked for the impossible: exit code 1, one line that says what to do, nothing left."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from wall_edge_export.quantize.precision import recipe_folder

from wall_edge.cli import main

ROBOT = Path(__file__).parents[3] / "examples" / "tabletop" / "robot.yaml"
Refused = Callable[..., str]


@pytest.fixture
def refused(
    slim_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Refused:
    """Run the command with some options; returns the error's line."""

    def run(*options: object, out: str = "bundle") -> str:
        before = sorted(tmp_path.rglob("*"))
        command = [
            "wall-edge",
            "export",
            slim_checkpoint,
            "--out",
            tmp_path / out,
            "--robot",
            ROBOT,
            *options,
        ]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == 1, printed.err
        assert printed.out == ""
        assert "Traceback" not in printed.err
        lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, printed.err
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return run


@pytest.mark.parametrize("precision", ["int8", "int8-int8", "int8-int4", "int4-weights"])
def test_a_recipe_that_needs_calibration_asks_for_it(refused: Refused, precision: str) -> None:
    line = refused("--precision", precision)
    assert f"--precision {precision} without calibration data" in line
    assert "--calibration FOLDER" in line
    assert "--record" in line


def test_auto_without_data(refused: Refused) -> None:
    assert "--calibration FOLDER" in refused("--precision", "auto", "--max-action-error", "0.05")


@pytest.mark.parametrize("limit", [None, "0", "1", "-0.1", "nan", "inf"])
def test_auto_needs_a_limit_between_0_and_1(refused: Refused, session_data: Path, limit: str | None) -> None:
    given = () if limit is None else (f"--max-action-error={limit}",)
    line = refused("--precision", "auto", "--calibration", session_data, *given)
    assert "--max-action-error" in line
    assert "between 0 and 1" in line


def test_a_limit_without_auto(refused: Refused, session_data: Path) -> None:
    for precision in ("fp16", "int8"):
        line = refused("--precision", precision, "--max-action-error", "0.02", "--calibration", session_data)
        assert "expected --precision auto beside it" in line


def test_guidance_of_fast_actions(refused: Refused, tmp_path: Path) -> None:
    line = refused("--guidance", "--fast", tmp_path)
    assert "--guidance with --fast; expected a flow policy" in line
    assert "leave out --guidance" in line


def test_samples_without_data(refused: Refused) -> None:
    assert "--calibration FOLDER beside it" in refused("--samples", "16")


def test_too_little_data_for_auto(refused: Refused, session_data: Path) -> None:
    options = ("--precision", "auto", "--max-action-error", "0.1", "--samples", "12")
    line = refused(*options, "--calibration", session_data)
    assert "a third calibrates, a third selects, a third confirms" in line


@pytest.mark.parametrize("name", ["int9", "recipes/none.yaml"])
def test_an_unknown_recipe(refused: Refused, name: str) -> None:
    line = refused("--precision", name)
    assert repr(name) in line
    assert "auto, one of bf16, fp16, fp32, int4-weights" in line


def test_a_recipe_with_a_mistake(refused: Refused, tmp_path: Path) -> None:
    recipe = yaml.safe_load((recipe_folder() / "fp16.yaml").read_text())
    recipe["prefix"]["qvk"] = recipe["prefix"].pop("qkv")
    (path := tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    line = refused("--precision", path)
    assert f"{path}: prefix.qvk" in line
    assert "did you mean 'qkv'?" in line


@pytest.mark.parametrize("content", [b"", b"\n  \n\t\n", b"caf\xe9"])
def test_a_vocabulary_that_says_nothing(refused: Refused, tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "words.txt").write_bytes(content)
    line = refused("--vocabulary", path)
    assert str(path) in line
    assert "expected a text file with one subgoal a line" in line


def test_a_vocabulary_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        line = refused("--vocabulary", path)
        assert str(path) in line
        assert "expected a text file with one subgoal a line" in line


def test_a_vocabulary_that_never_ends(refused: Refused, tmp_path: Path) -> None:
    """H16: a link to a device, a pipe, a line of megabytes."""
    for kind in ("zero", "pipe", "line"):
        path = tmp_path / kind
        if kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_text("a" * 1_000_000)
        assert str(path) in refused("--vocabulary", path)


@pytest.mark.parametrize(
    "option", ["--vocabulary", "--calibration", "--robot", "--fast", "--base", "--adapter"]
)
def test_names_that_no_system_takes(refused: Refused, option: str) -> None:
    """H16: thousands of characters."""
    line = refused(option, "x" * 5000)
    assert len(line) < 500
    assert "too long" in line


def test_calibration_data_that_is_none(refused: Refused, tmp_path: Path, slim_checkpoint: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", slim_checkpoint):
        assert "a recorded session or a LeRobot dataset" in refused(
            "--precision", "int8", "--calibration", path
        )


def test_a_place_that_is_taken_or_impossible(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "is no bundle" in refused(out="file")
    for out in ("file/bundle", "n" * 300):
        assert "a folder that can be written" in refused(out=out)


def test_a_link_that_the_urdf_does_not_have(refused: Refused, tmp_path: Path) -> None:
    """Said before an hour's export, and not by the start after it."""
    example = ROBOT.parents[1] / "two_handed" / "robot.yaml"
    robot = yaml.safe_load(example.read_text())
    robot["kinematics"]["urdf"] = str(example.with_name("robot.urdf"))
    robot["kinematics"]["poses"]["left"]["tip"] = "left_hand"
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump(robot))
    line = refused("--robot", file)
    assert "kinematics.poses.left: no link left_hand; expected one of table, left_base" in line
