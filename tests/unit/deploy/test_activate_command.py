"""``wall-edge activate`` as a person on the robot calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.doubles.gpu import Gpu
from tests.doubles.installed import doubles
from wall_edge.bundle import Bundle, Tolerance, write_manifest
from wall_edge.cli import app
from wall_edge.deploy import engine as engines
from wall_edge.errors import WallEdgeError

CopyBundle = Callable[[], Bundle]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["activate", *map(str, arguments)])
    if isinstance(done.exception, WallEdgeError):
        return 1, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often it has stepped back: for this process there is no way forward again."""
    steps: list[str] = []
    monkeypatch.setattr("wall_edge.cli.bundle.activate.step_back", lambda: steps.append("back"))
    return steps


@pytest.fixture
def folder(copy_bundle: CopyBundle) -> Path:
    return copy_bundle().folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "place"


def test_a_person_reads_what_verified_and_what_runs_now(folder: Path, place: Path) -> None:
    code, out, err = run(folder, "--at", place, "--engine", "onnxruntime")
    assert code == 0
    assert "engine: ONNX Runtime" in out
    assert "velocity" in out
    assert "before: nothing" in out
    assert f"now: {place / 'current'} -> {folder}" in out
    assert "policy: {engine: onnxruntime, device: cpu}" in out
    assert (place / "current").resolve() == folder
    assert "note" not in err


def test_a_daemon_beside_it_comes_first(folder: Path, place: Path, steps: list[str]) -> None:
    """When memory runs out the kernel takes what verifies, not the process that moves an arm."""
    run(folder, "--at", place)
    assert steps == ["back"]
    program = (
        "import os; from pathlib import Path; from wall_edge.deploy.precedence import step_back; step_back();"
        "print(os.getpriority(os.PRIO_PROCESS, 0), Path('/proc/self/oom_score_adj').read_text())"
    )
    before = os.getpriority(os.PRIO_PROCESS, 0)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(min(19, before + 10)), "1000"]


def test_a_program_reads_json(folder: Path, place: Path) -> None:
    _, first, _ = run(folder, "--at", place, "--json")
    code, out, _ = run(folder, "--at", place, "--json")
    report = json.loads(out)
    assert code == 0
    assert json.loads(first)["previous"] is None
    assert report["previous"] == str(folder)
    assert report["digest"] == Bundle(folder).digest
    assert report["stages"]["keys"] == {**report["stages"]["keys"], "stages": 4, "measure": "relative_l2"}


def test_auto_is_tensorrt_where_it_and_a_gpu_are(folder: Path, place: Path) -> None:
    """Built, verified by its engines, all of it on the double."""
    with doubles(Gpu()):
        code, out, error = run(folder, "--at", place, "--json")
    assert code == 0, error
    report = json.loads(out)
    assert (report["engine"], report["device"]) == ("tensorrt", "cuda")
    assert set(report["built"]) == {"vision", "prefix", "lm_head", "expert"}
    assert len(list(folder.with_name(f"{folder.name}.engines").glob("*/*.plan"))) == 4
    with doubles(Gpu()):
        code, out, _ = run(folder, "--at", place, "--json")
    assert (code, json.loads(out)["built"]) == (0, {})


def test_auto_says_why_it_is_not_tensorrt(folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise engines.EngineError("no GPU at hand", fix="buy one")

    monkeypatch.setattr(engines, "select", absent)
    code, _, err = run(folder, "--at", place)
    assert code == 0
    assert "note: ONNX Runtime, as TensorRT does not run here: no GPU at hand" in " ".join(err.split())
    code, _, error = run(folder, "--at", place, "--engine", "tensorrt")
    assert (code, error) == (1, "no GPU at hand; buy one")


@pytest.fixture
def active(folder: Path, place: Path, tmp_path: Path) -> Path:
    """Another folder of the same, which is current."""
    other = tmp_path / "active"
    shutil.copytree(folder, other)
    assert run(other, "--at", place, "--engine", "onnxruntime")[0] == 0
    return other


def test_one_that_fails_changes_nothing(folder: Path, place: Path, active: Path) -> None:
    manifest = Bundle(folder).manifest
    limits = {**manifest.tolerances, "velocity": Tolerance("relative_l2", 1e-12)}
    write_manifest(folder, replace(manifest, tolerances=limits))
    code, out, error = run(folder, "--at", place, "--engine", "onnxruntime")
    assert (code, out) == (1, "")
    assert "10 of 29 stages past tolerance, most velocity." in error
    assert (place / "current").resolve() == active


def test_a_damaged_one_changes_nothing(folder: Path, place: Path, active: Path) -> None:
    (folder / "expert.data").write_bytes(b"X" + (folder / "expert.data").read_bytes()[1:])
    code, _, error = run(folder, "--at", place)
    assert code == 1
    assert "expert.data: damaged" in error
    assert (place / "current").resolve() == active


def test_one_for_which_there_is_no_memory(folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "available_bytes", lambda: 1_000_000)
    code, _, error = run(folder, "--at", place, "--engine", "onnxruntime")
    assert code == 1
    assert "weights are 0.01 GB, 0.00 GB of memory are free" in error
    assert not (place / "current").is_symlink()


def test_relative_names_and_places_behind_links(
    folder: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under ssh, where a place is named from the login's home."""
    digest = Bundle(folder).digest
    place.mkdir()
    (tmp_path / "link").symlink_to("place")
    monkeypatch.chdir(tmp_path)
    for name in ("place", "link"):
        shutil.copytree(folder, place / "incoming" / digest)
        code, out, error = run(f"{name}/incoming/{digest}", "--at", name, "--engine", "onnxruntime", "--json")
        assert code == 0, error
        assert json.loads(out)["folder"] == str(place / "bundles" / digest)
        assert (place / "current").readlink() == Path("bundles") / digest
        assert (place / "bundles" / f"{digest}.json").exists()
        assert list((place / "incoming").iterdir()) == []
    assert run("bundle", "--at", "link", "--engine", "onnxruntime")[0] == 0
    assert (place / "current").readlink() == Path("../bundle")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--engine", "tensorflow"), "--engine 'tensorflow'; expected auto or onnxruntime or"),
        (("--device", "tpu"), "expected cpu, cuda or cuda:N"),
        (("--at", "/proc/nothing"), "expected a folder that can be written"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: tuple[str, str], expected: str, folder: Path, place: Path
) -> None:
    code, _, error = run(folder, *(("--at", place) if "--at" not in options else ()), *options)
    assert code == 1
    assert expected in error


def test_an_incoming_copy_moves_to_the_bundles_and_the_older_go(folder: Path, place: Path) -> None:
    manifest = Bundle(folder).manifest
    digests = []
    for name in ("one", "two", "three"):
        write_manifest(folder, replace(manifest, source=replace(manifest.source, checkpoint=name)))
        digests.append(Bundle(folder).digest)
        shutil.copytree(folder, place / "incoming" / digests[-1])
        options = ("--at", place, "--engine", "onnxruntime", "--json")
        code, out, _ = run(place / "incoming" / digests[-1], *options)
        assert code == 0
    report = json.loads(out)
    assert report["removed"] == [str(place / "bundles" / digests[0])]
    assert report["previous"] == str(place / "bundles" / digests[1])
    assert (place / "current").readlink() == Path("bundles") / digests[2]
    assert json.loads((place / "bundles" / f"{digests[2]}.json").read_text())["digest"] == digests[2]
    assert not (place / "bundles" / f"{digests[0]}.json").exists()
