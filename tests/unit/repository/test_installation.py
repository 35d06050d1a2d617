"""What may be absent, and what a user is told then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from wall_edge_engines import onnxruntime as backend

import wall_edge
from wall_edge.errors import EngineError

_WITHOUT = """
import sys
for name in ("torch", "transformers", "onnx", "safetensors", "matplotlib", "cv2"):
    sys.modules[name] = None
from wall_edge.cli import main
import wall_edge.runtime.daemon.supervisor, wall_edge.verification.verify
import wall_edge_engines, wall_edge_bridge.drives
sys.argv = ["wall-edge", *sys.argv[1:]]
main()
"""


def without_exporter(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WITHOUT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_robot_side_needs_no_torch() -> None:
    done = without_exporter("--help")
    assert done.returncode == 0, done.stderr
    assert "verify" in done.stdout


def test_export_without_its_packages_says_what_to_install(tmp_path: object) -> None:
    done = without_exporter("export", str(tmp_path), "--out", f"{tmp_path}/out")
    assert done.returncode == 1
    assert "pip install 'wall-edge[export]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "example"),
    [
        ((), "tabletop"),
        (("--policy", "wall-oss-0.5"), "tabletop_05"),
        (("--robot", "two-handed"), "two_handed"),
    ],
)
def test_the_demo_from_a_wheel_says_that_it_needs_a_clone(
    tmp_path: Path, options: tuple[str, ...], example: str
) -> None:
    """A wheel holds the package and no examples beside it."""
    package = Path(wall_edge.__file__).parent
    shutil.copytree(package, tmp_path / "wall_edge", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "wall_edge", "demo", "--out", "demo", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {tmp_path / 'examples' / example / 'robot.yaml'} does not exist; expected a file"
    )
    assert "--checkpoint and --robot" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        (set(), "onnxruntime is not installed"),
        ({"onnxruntime", "onnxruntime-gpu"}, "overwrite each other"),
    ],
)
def test_neither_or_both_onnxruntimes(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], message: str
) -> None:
    def version(name: str) -> str:
        if name in installed:
            return "1.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(backend.metadata, "version", version)
    with pytest.raises(EngineError, match=message):
        backend.require_onnxruntime()


@pytest.mark.parametrize("only", ["onnxruntime", "onnxruntime-gpu"])
def test_exactly_one_onnxruntime_is_fine(monkeypatch: pytest.MonkeyPatch, only: str) -> None:
    monkeypatch.setattr(backend, "installed", lambda name: name == only)
    assert backend.require_onnxruntime().__name__ == "onnxruntime"
