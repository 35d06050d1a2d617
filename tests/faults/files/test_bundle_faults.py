"""Damaged bundles are refused by name before anything runs; exports appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner
from wall_edge_export.bundle.pipeline import export_bundle
from wall_edge_export.bundle.workspace import workspace
from wall_edge_export.checkpoint.checkpoint import Checkpoint

from wall_edge.bundle import FORMAT_VERSION, Bundle, file_digest
from wall_edge.cli import app
from wall_edge.config import RobotConfig
from wall_edge.errors import BundleError, WallEdgeError

FILES = (
    "manifest.yaml",
    "manifest.sha256",
    "vision.onnx",
    "vision.data",
    "prefix.onnx",
    "prefix.data",
    "lm_head.onnx",
    "lm_head.data",
    "expert.onnx",
    "expert.data",
    "tokenizer.json",
    "goldens.npz",
)
CopyBundle = Callable[[], Bundle]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def sign(folder: Path) -> None:
    """What an attacker or a careless editor could do: the digest matches, the content is wrong."""
    (folder / "manifest.sha256").write_text(f"{file_digest(folder / 'manifest.yaml')}  manifest.yaml\n")


def test_what_was_checked_goes_to_another_process_which_hashes_nothing(
    copy_bundle: CopyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = copy_bundle()
    assert bundle.goldens
    words = pickle.dumps(bundle)
    assert len(words) < 64 << 10

    def no_digest(*_: object) -> None:
        raise AssertionError("a digest was computed")

    monkeypatch.setattr(hashlib, "sha256", no_digest)
    there = pickle.loads(words)
    there.require_unchanged()
    assert there.manifest == bundle.manifest
    assert there.goldens.keys() == bundle.goldens.keys()


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.sha256"])
@pytest.mark.parametrize("tamper", ["written to", "replaced", "removed"])
def test_a_file_that_changed_on_the_way_to_the_other_process(
    copy_bundle: CopyBundle, name: str, tamper: str
) -> None:
    """Even by one of the same bytes, size and modification time."""
    bundle = copy_bundle()
    there, path = pickle.loads(pickle.dumps(bundle)), bundle.folder / name
    before, content = path.stat(), path.read_bytes()
    if tamper == "written to":
        path.write_bytes(content)
    else:
        path.unlink()
    if tamper == "replaced":
        path.write_bytes(content)
    if tamper != "removed":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BundleError, match=f"{name}: replaced or written to"):
        there.require_unchanged()


def test_a_bundle_holds_just_these_files(shipped_bundle: Path) -> None:
    assert sorted(path.name for path in shipped_bundle.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.5, 0.9, 1.0])
def test_one_flipped_bit(copy_bundle: CopyBundle, name: str, where: float) -> None:
    folder = copy_bundle().folder
    path = folder / name
    flip(path, int(where * (path.stat().st_size - 1)))
    with pytest.raises(BundleError) as refused:
        Bundle(folder)
    assert (name if name in FILES[2:] else "manifest") in str(refused.value)
    assert "export" in str(refused.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(copy_bundle: CopyBundle, name: str) -> None:
    folder = copy_bundle().folder
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        Bundle(folder)


@pytest.mark.parametrize("version", [FORMAT_VERSION - 1, FORMAT_VERSION + 1, None])
def test_another_format_version(copy_bundle: CopyBundle, version: object) -> None:
    folder = copy_bundle().folder
    path = folder / "manifest.yaml"
    manifest = yaml.safe_load(path.read_text())
    manifest["format_version"] = version
    path.write_text(yaml.safe_dump(manifest))
    sign(folder)
    with pytest.raises(BundleError, match=f"format version {version}; expected {FORMAT_VERSION}"):
        Bundle(folder)


def test_a_manifest_cannot_name_files_outside(copy_bundle: CopyBundle) -> None:
    folder = copy_bundle().folder
    path = folder / "manifest.yaml"
    manifest = yaml.safe_load(path.read_text())
    manifest["files"]["../outside"] = "0" * 64
    path.write_text(yaml.safe_dump(manifest))
    sign(folder)
    with pytest.raises(BundleError, match="outside"):
        Bundle(folder)


def test_verify_says_ok_and_can_say_no(copy_bundle: CopyBundle) -> None:
    """The same bundle with goldens of other numbers, correctly signed, fails and exits with 1."""
    import numpy as np

    folder = copy_bundle().folder
    runner = CliRunner()
    assert runner.invoke(app, ["verify", str(folder)]).exit_code == 0
    with np.load(folder / "goldens.npz") as file:
        goldens = {name: file[name] for name in file.files}
    goldens["chunk"] = goldens["chunk"] + 0.01
    np.savez(folder / "goldens.npz", **goldens)
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    manifest["files"]["goldens.npz"] = file_digest(folder / "goldens.npz")
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    sign(folder)
    failed = runner.invoke(app, ["verify", str(folder), "--json"])
    assert failed.exit_code == 1
    assert '"ok": false' in failed.output


def test_a_failed_export_leaves_nothing(broken_case: Path, robot: RobotConfig, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bundle"
    with pytest.raises(WallEdgeError):
        export_bundle(Checkpoint(broken_case), out, robot)
    assert not out.exists()
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_an_interrupted_bundle_keeps_the_one_before(copy_bundle: CopyBundle) -> None:
    """What was finished waits in a hidden folder beside it, for a rerun."""
    bundle = copy_bundle()

    def write_half() -> None:
        with workspace(bundle.folder, "key") as space:
            (space.folder / "vision.onnx").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    Bundle(bundle.folder)
    names = {path.name for path in bundle.folder.parent.iterdir()}
    assert names == {bundle.folder.name, f".{bundle.folder.name}.partial"}


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(BundleError, match="is no bundle"), workspace(tmp_path / "photos", "key"):
        pass
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
