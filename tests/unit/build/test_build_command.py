"""``wall-edge build`` as a user calls it, with a compiler that does as a test says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner
from wall_edge_engines.build.targets.selection import Selection

from tests.unit.build.conftest import ORIN, Compilers, Machine
from wall_edge.bundle import Bundle
from wall_edge.cli import app
from wall_edge.errors import WallEdgeError

pytestmark = pytest.mark.usefixtures("compilers")
AHEAD = ("--target", "sm86-check", "--compiler", "tensorrt-rtx")


@pytest.fixture
def folder(copy_bundle: Callable[[], Bundle]) -> Path:
    return copy_bundle().folder


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["build", *map(str, arguments)])
    if isinstance(done.exception, WallEdgeError):
        return 1, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def test_a_person_reads_each_graphs_time_and_memory(folder: Path) -> None:
    code, out, _ = run(folder, *AHEAD)
    assert code == 0
    assert "sm86-check (SM86), tensorrt-rtx 1.7.1, ahead of time" in out
    assert re.search(r"prefix.*0\.0 MB.*0\.2 s.*123 MB.*ok", out)
    assert out.strip().endswith("all engines are built")


def test_a_program_reads_json(folder: Path) -> None:
    code, out, _ = run(folder, *AHEAD, "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["compiler"], report["target"]) == ("tensorrt-rtx", "sm86-check")
    assert set(report["graphs"]) == {"vision", "prefix", "lm_head", "expert"}
    for graph in report["graphs"].values():
        assert set(graph) >= {"ok", "seconds", "bytes", "peak_bytes", "reason"}
        assert graph["ok"] is True
        assert graph["reason"] == ""


def test_a_graph_that_fails_fails_the_command_and_a_rerun_goes_on(folder: Path, compilers: Compilers) -> None:
    compilers.behave(expert="killed")
    code, out, _ = run(folder, *AHEAD)
    assert code == 1
    assert "FAILED: expert; the others stay" in out
    assert "expert: the compiler was ended by SIGKILL" in out
    code, out, _ = run(folder, *AHEAD, "--json")
    graphs = json.loads(out)["graphs"]
    assert (code, graphs["expert"]["ok"]) == (1, False)
    assert "SIGKILL" in graphs["expert"]["reason"]
    compilers.behave()
    code, out, _ = run(folder, *AHEAD)
    assert code == 0
    assert out.count("built earlier") == 3


def test_on_a_jetson_it_needs_no_options(folder: Path, machine: Machine) -> None:
    machine(ORIN, "tensorrt")
    code, out, err = run(folder)
    assert code == 0
    assert "orin-nx-16 (SM87), tensorrt 10.3.0, on Orin" in out
    note = "note: fp32 is not a recipe for Jetson Orin NX 16 GB: better int8-int8 or int8-int4"
    assert note in " ".join(err.split())
    assert "note" not in out


def test_engines_of_another_target_are_named(folder: Path, machine: Machine) -> None:
    machine(ORIN, "tensorrt")
    run(folder)
    _, out, _ = run(folder, *AHEAD)
    assert re.search(r"also there, 0 MB: .*bundle\.engines/tensorrt-10\.3\.0-Orin-sm87-", out)


def test_engines_that_would_not_fit_are_refused_before_anything_is_built(
    folder: Path, compilers: Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Selection, "memory_bytes", 1_000_000)
    code, out, error = run(folder, *AHEAD)
    assert (code, out) == (1, "")
    assert "running takes weights" in error
    assert compilers.jobs == []
    assert not folder.with_name("bundle.engines").exists()


def test_engines_that_turn_out_too_large_are_told_and_stay(
    folder: Path, compilers: Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(_: Selection) -> int:
        return 1_000_000 if compilers.jobs else 1 << 40

    monkeypatch.setattr(Selection, "memory_bytes", property(memory))
    code, out, error = run(folder, *AHEAD)
    assert code == 1
    assert "all engines are built" in out
    assert "running takes weights 0.00 GB" in error
    assert len(list(folder.with_name("bundle.engines").glob("*/*.plan"))) == 4


def test_a_damaged_bundle_is_refused_before_anything_is_built(folder: Path, compilers: Compilers) -> None:
    (folder / "expert.onnx").write_bytes(b"X" + (folder / "expert.onnx").read_bytes()[1:])
    code, _, error = run(folder, *AHEAD)
    assert code == 1
    assert "damaged" in error
    assert compilers.jobs == []


def test_a_target_that_is_none(folder: Path) -> None:
    code, _, error = run(folder, "--target", "orin")
    assert code == 1
    assert "target 'orin'; expected one of" in error
