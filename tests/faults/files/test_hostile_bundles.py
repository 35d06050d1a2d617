"""Bundles that somebody re-signed, with right digests and wrong meaning, are refused before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import wall_edge_engines
import yaml
from onnx import TensorProto, helper
from typer.testing import CliRunner

from wall_edge.bundle import Bundle, file_digest
from wall_edge.cli import app
from wall_edge.errors import BundleError, WallEdgeError

CopyBundle = Callable[[], Bundle]
Edit = Callable[[dict[str, Any]], object]
FAST: dict[str, Any] = {"kind": "fast", "spelling": {"scale": 10, "vocab_size": 2048, "min_token": -354}}


def sign(folder: Path, *changed: str, edit: Edit = lambda _: None) -> None:
    """Make every digest right again after ``changed`` files, and after ``edit`` of the manifest."""
    path = folder / "manifest.yaml"
    manifest = yaml.safe_load(path.read_text())
    for name in changed:
        manifest["files"][name] = file_digest(folder / name)
    edit(manifest)
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    (folder / "manifest.sha256").write_text(f"{file_digest(path)}  manifest.yaml\n")


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as refused:
        Bundle(folder)
    text = str(refused.value)
    assert "\n" not in text
    assert len(text) < 2500
    return text


def robot(**changes: Any) -> Edit:
    return lambda m: m["embodiment"].update(changes)


def degree(side: str = "action", **changes: Any) -> Edit:
    """Of the first degree of freedom, the shoulder's."""
    return lambda m: m["embodiment"][side]["degrees"][0].update(changes)


def camera(**changes: Any) -> Edit:
    return lambda m: m["cameras"]["face_view"].update(changes)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (degree(reference="bogus"), "embodiment.action.degrees[0].reference is 'bogus'; expected 'absolute'"),
        (degree(unit="turns"), "action.degrees[0].unit is 'turns'"),
        (degree(unit="deg"), "the state that shoulder_pan is an offset from, in deg"),
        (degree(part="wing"), "action.degrees[0].part is 'wing'"),
        (degree(part="position", unit="m"), "all 3 components of shoulder_pan's position"),
        (degree(part="held"), "of is 'shoulder_pan'"),
        (degree(index=1), "all 1 components of shoulder_pan's joint"),
        (degree(of="gripper"), "degrees[5].target is"),
        (degree("state", reference="state"), "expected absolute for shoulder_pan"),
        (lambda m: m["embodiment"]["action"].update(scale=[0.3]), "action.scale is [0.3]; expected 6 values"),
        (lambda m: m["embodiment"]["state"].update(offset=[0.0] * 7), "state.offset"),
        (lambda m: m["embodiment"]["action"]["scale"].__setitem__(2, 0.0), "scale[2] is 0.0"),
        (lambda m: m["embodiment"]["action"]["scale"].__setitem__(2, -0.3), "scale[2] is -0.3"),
        (lambda m: m["embodiment"]["action"]["scale"].__setitem__(2, 1e30), "scale[2] is 1e+30"),
        (lambda m: m["embodiment"]["state"].update(clip=0), "clip is 0.0"),
        (degree(slot=4), "action.degrees[4].slot is 4; expected a value other than that of degrees[0]"),
        (degree(slot=-1), "action.degrees[0].slot is -1"),
        (degree("state", slot=6), "embodiment.state.degrees[0].slot is 6; expected 0 to 5"),
        (degree(name="gripper"), "degrees[5] is 'gripper'"),
        (degree(name="\x1b[1m"), "degrees[0].name"),
        (lambda m: m["embodiment"]["action"].update(degrees=[]), "action.degrees is []"),
        (lambda m: m["embodiment"]["action"].update(rotations={"arm": "rpy"}), "no pose are written"),
        (robot(poses={"arm": {"base": "a", "tip": "b"}}), "poses.arm.frame is missing"),
        (robot(poses={"arm": {"base": "a", "tip": "b", "frame": "<|action|>"}}), "poses.arm.frame is"),
        (robot(name="a\0b"), "embodiment.name"),
        (robot(name="x" * 5000), "embodiment.name"),
        (lambda m: m["actions"].update(time_grid=[]), "actions.time_grid is []"),
        (lambda m: m["actions"].update(time_grid=[0.0, 0.5, 0.4, 1.0]), "rise from 0 to between 0.9 and 1"),
        (lambda m: m["actions"].update(time_grid=[0.0, 0.5]), "rise from 0 to between 0.9 and 1"),
        (lambda m: m["actions"].update(time_grid=[0.5, 1.0]), "rise from 0 to between 0.9 and 1"),
        (lambda m: m["actions"].pop("time_grid"), "actions.time_grid is missing"),
        (lambda m: m["actions"].update(time_schedule={"scale": 0.5}), "actions.time_schedule.scale is 0.5"),
        (lambda m: m["actions"].update(time_schedule={"shift": 0}), "actions.time_schedule.shift is 0"),
        (lambda m: m["actions"].update(kind="fast"), "actions.time_grid is not a known key"),
        (lambda m: m["actions"].update(kind="pi0"), "actions.kind is 'pi0'"),
        (lambda m: m["actions"].pop("kind"), "actions.kind is missing"),
        (lambda m: m.update(actions="flow"), "actions.time_grid is missing"),
        (lambda m: m.pop("actions"), "actions is missing"),
        (lambda m: m.update(actions=FAST), "graphs is ['vision', 'prefix', 'lm_head', 'expert']"),
        (lambda m: m.update(family="wall-oss-2"), "family is 'wall-oss-2'; expected 'wall-oss' or"),
        (lambda m: m.update(state_text={"bins": 1}), "state_text.bins is 1"),
        (lambda m: m.update(state_text={"bins": 256}), "expected none: this family's state has a token"),
        (lambda m: m.update(state_text={"bins": 1 << 40}), "state_text.bins is"),
        (lambda m: m.update(action_rate_hz=0), "action_rate_hz is 0"),
        (lambda m: m.update(action_rate_hz=1e9), "action_rate_hz is 1"),
        (lambda m: m.update(horizon=23), "graphs.expert"),
        (lambda m: m.update(horizon=10**9), "horizon is 1000000000"),
        (lambda m: m.update(max_prompt_tokens=0), "max_prompt_tokens is 0"),
        (
            lambda m: m.update(max_prompt_tokens=10),
            "max_prompt_tokens is 10; expected more than the images' 18",
        ),
        (lambda m: m.update(max_prompt_tokens=10**9), "max_prompt_tokens"),
        (camera(width=16384, height=16384), "face_view.width is 16384"),
        (camera(patch_size=0), "patch_size is 0"),
        (camera(merge_size=-2), "merge_size is -2"),
        (camera(min_pixels=5000, max_pixels=4000), "max_pixels is 4000"),
        (camera(resolution=168), "graphs.vision"),
        (lambda m: m["cameras"].update({"<|action|>": m["cameras"].pop("face_view")}), "<|action|>"),
        (lambda m: m["cameras"].update({"../../evil": m["cameras"].pop("face_view")}), "../../evil"),
        (
            lambda m: m["cameras"].update(face_view=m["cameras"].pop("face_view")),
            "vision.onnx: frames of face_view",
        ),
        (
            lambda m: m.update(cameras={f"view{n}": m["cameras"]["face_view"] for n in range(2000)}),
            "cameras is",
        ),
        (lambda m: m["graphs"].pop("lm_head"), "graphs is"),
        (lambda m: m["graphs"]["prefix"]["inputs"].pop("state"), "graphs.prefix"),
        (
            lambda m: m["graphs"]["prefix"]["inputs"]["past_kv"].update(shape=["past", 4, 2, 10**9, 32]),
            "past_kv",
        ),
        (lambda m: m["graphs"]["expert"]["outputs"]["velocity"].update(dtype="float16"), "velocity"),
        (lambda m: m["graphs"]["expert"].update(data="prefix.data"), "files of its own"),
        (lambda m: m["graphs"]["expert"].update(file="../expert.onnx"), "../expert.onnx"),
        (lambda m: m["graphs"]["expert"].update(families={"mlp": "int3"}), "families.mlp is 'int3'"),
        (lambda m: m["tolerances"]["velocity"].update(limit=1e9), "tolerances.velocity.limit"),
        (lambda m: m["tolerances"]["velocity"].update(limit=-1), "tolerances.velocity.limit is -1"),
        (lambda m: m["files"].update({"vision.data": "0" * 63}), "files.vision.data"),
        (lambda m: m["source"].update(sha256="no"), "source.sha256 is 'no'"),
        (lambda m: m.update(head_tokens="/etc/passwd"), "head_tokens is '/etc/passwd'"),
        (
            lambda m: m.update(actions={**FAST, "spelling": {**FAST["spelling"], "vocab_size": 1 << 40}}),
            "actions.spelling.vocab_size",
        ),
        (lambda m: m.update(format_version=True), "format version True"),
    ],
)
def test_h3_a_manifest_that_cannot_be_meant(copy_bundle: CopyBundle, edit: Edit, words: str) -> None:
    """H3, H5, H10, H16: literals, lengths, ranges, order, names, sizes that others must agree with."""
    folder = copy_bundle().folder
    sign(folder, edit=edit)
    assert words in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{f'*{a}, ' * 30}]\n" for a, b in zip("abcdefgh", "bcdefghi")),  # noqa: B905
        "format_version: 2\nformat_version: 2\n",
        "format_version: " + "9" * 5000,
        "[" * 3000,
        "format_version: 2020-13-45",
    ],
)
def test_h4_a_manifest_that_is_a_bomb(copy_bundle: CopyBundle, text: str) -> None:
    """H4, H16: aliases, a key twice, digits, depth, dates."""
    folder = copy_bundle().folder
    (folder / "manifest.yaml").write_text(text)
    digest = file_digest(folder / "manifest.yaml")
    (folder / "manifest.sha256").write_text(f"{digest}  manifest.yaml\n")
    assert "manifest.yaml: " in refusal(folder)


def change_graph(folder: Path, change: Callable[[onnx.ModelProto], object], name: str = "expert") -> None:
    path = folder / f"{name}.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    sign(folder, path.name)


def first_external(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL)


def external(key: str, value: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for entry in first_external(model).external_data:
            if entry.key == key:
                entry.value = value

    return change


def moved_into_a_constant(model: onnx.ModelProto) -> None:
    """Weights in an attribute of a node are external data too."""
    tensor = onnx.TensorProto()
    tensor.CopyFrom(first_external(model))
    tensor.external_data[0].value = "prefix.data"
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def looped(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [helper.make_tensor_value_info(n, k, []) for n, k in (("i", 7), ("go", 9))],
        [helper.make_tensor_value_info("on", 9, [])],
    )
    model.graph.node.append(helper.make_node("Loop", ["", "true"], [], body=body))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external("location", "prefix.data"), "weights in 'prefix.data', not in expert.data"),
        (external("location", "/etc/passwd"), "weights in '/etc/passwd'"),
        (external("location", "./expert.data"), "weights in './expert.data'"),
        (external("location", "*/_ORT_MEM_ADDR_/*"), "not in expert.data"),
        (external("offset", "999999999"), "its weights end at byte"),
        (external("length", "999999999"), "its weights end at byte"),
        (external("offset", "-1"), "weights at offset '-1'"),
        (moved_into_a_constant, "weights in 'prefix.data'"),
        (looped, "holds a graph of its own, as loops and branches do"),
        (lambda m: m.graph.node[0].__setattr__("domain", "com.evil"), "operators of 'com.evil'"),
        (lambda m: m.functions.add(), "functions"),
        (lambda m: m.training_info.add(), "functions or training"),
        (lambda m: m.graph.sparse_initializer.add(), "sparse weights"),
        (
            lambda m: m.graph.input[0].__setattr__("name", "other"),
            "its inputs are other than the manifest says",
        ),
        (
            lambda m: m.graph.output[0].type.tensor_type.shape.dim[0].__setattr__("dim_value", 7),
            "its outputs",
        ),
        (lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 11), "its inputs"),
    ],
)
def test_h2_a_graph_that_reads_what_was_not_checked(
    copy_bundle: CopyBundle, change: Callable[[onnx.ModelProto], object], words: str
) -> None:
    """H2, H13: another file's weights, subgraphs (an endless Loop), operators of others."""
    folder = copy_bundle().folder
    change_graph(folder, change)
    assert words in refusal(folder)


def test_h2_a_graph_twice_in_one_file(copy_bundle: CopyBundle) -> None:
    """H2: parsers merge a field that stands twice; the second half must not slip through."""
    folder = copy_bundle().folder
    path = folder / "expert.onnx"
    path.write_bytes(path.read_bytes() * 2)
    sign(folder, path.name)
    assert "2 graphs" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["manifest.yaml", "manifest.sha256", "expert.onnx", "expert.data", "goldens.npz"]
)
@pytest.mark.parametrize("what", ["fifo", "zero", "folder", "terabyte"])
def test_h13_only_plain_files_of_sane_sizes(copy_bundle: CopyBundle, name: str, what: str) -> None:
    """H13: a FIFO blocks, /dev/zero never ends, a sparse terabyte takes an hour."""
    path = copy_bundle().folder / name
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "zero":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    assert name.split(".")[0] in refusal(path.parent)


@pytest.mark.parametrize("name", ["expert.data", "expert.onnx", "tokenizer.json"])
def test_h13_a_file_replaced_after_its_check(copy_bundle: CopyBundle, name: str) -> None:
    """H13: ONNX Runtime and others open by name; what they read must be what was hashed."""
    opened = copy_bundle()
    path = opened.folder / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # the same bytes even: nobody has checked them
    with pytest.raises(BundleError, match="replaced or written to"):
        wall_edge_engines.load(opened)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "a\ud800b"])
def test_h16_folders_that_no_disk_can_have(tmp_path: Path, name: str) -> None:
    assert "; expected a bundle folder; check the path" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none", "no such folder"), ("file", "not a folder"), ("file/in it", "Not a directory"), ("", "no man")],
)
def test_a_bundle_where_no_folder_is(tmp_path: Path, name: str, reason: str) -> None:
    """A mistyped path was told to have no manifest.yaml, and to be exported again."""
    (tmp_path / "file").touch()
    assert f"{tmp_path / name}: {reason}" in refusal(tmp_path / name)


def change_goldens(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(folder / "goldens.npz") as file:
        goldens = {name: file[name] for name in file.files}
    change(goldens)
    np.savez(folder / "goldens.npz", **goldens)
    sign(folder, "goldens.npz")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda g: g.pop("velocities"), "golden velocities is missing"),
        (lambda g: (g.pop("velocities"), g.pop("noisy_actions")), "is missing"),
        (
            lambda g: g.update(velocities=g["velocities"][:0], noisy_actions=g["noisy_actions"][:0]),
            "noisy_actions",
        ),
        (lambda g: g.update(velocities=g["velocities"][:3]), "golden velocities is float32 [3, 24, 6]"),
        (lambda g: g.update(keys_values=g["keys_values"][:, :0]), "golden keys_values"),
        (lambda g: g.update(keys_values=g["keys_values"][:0]), "golden keys_values"),
        (lambda g: g.update(subgoal_ids=g["subgoal_ids"][:0]), "golden subgoal_ids"),
        (lambda g: g.update(action_prompt_ids=g["action_prompt_ids"].astype(float)), "action_prompt_ids"),
        (lambda g: g.update(chunk=np.full_like(g["chunk"], np.nan)), "golden chunk"),
        (lambda g: g.update(instruction=np.array(3)), "golden instruction"),
        (lambda g: g.update(instruction=np.array("<|action|>")), "special token"),
        (lambda g: g.update(noise=np.zeros(0, np.float32)), "golden noise"),
        (lambda g: g.update(state=np.array([{}], dtype=object)), "goldens.npz"),
        (lambda g: g.clear(), "is missing"),
    ],
)
def test_h11_a_stage_that_was_not_checked_is_not_ok(
    copy_bundle: CopyBundle, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    """H11, H16: goldens without velocities were "every stage within tolerance"."""
    folder = copy_bundle().folder
    change_goldens(folder, change)
    done = CliRunner().invoke(app, ["verify", str(folder)])
    assert done.exit_code == 1
    assert isinstance(done.exception, WallEdgeError)
    assert named in str(done.exception)
    assert "within tolerance" not in done.output


def test_h11_a_tolerance_that_is_missing(copy_bundle: CopyBundle) -> None:
    folder = copy_bundle().folder
    sign(folder, edit=lambda m: m["tolerances"].pop("chunk"))
    done = CliRunner().invoke(app, ["verify", str(folder)])
    assert done.exit_code == 1
    assert "no tolerance of chunk" in str(done.exception)


def command(
    *arguments: object, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "wall_edge", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
        timeout=120,
    )


def test_h14_outputs_that_take_little_or_nothing(copy_bundle: CopyBundle) -> None:
    """H14: ASCII, /dev/full, control codes and rich's markup in names."""
    folder = copy_bundle().folder
    sign(folder, edit=lambda m: m["source"].update(checkpoint="[/bold][red] über :smile:"))
    ascii_only = command("inspect", folder, PYTHONIOENCODING="ascii", LANG="C")
    assert ascii_only.returncode == 0
    assert rb"[/bold][red] \xfcber :smile:" in ascii_only.stdout
    with Path("/dev/full").open("wb") as full:
        for arguments in (("inspect", folder), ("inspect", folder, "--json")):
            done = command(*arguments, stdout=full)
            assert done.returncode == 1
            assert done.stderr.decode() == "error: output: No space left on device\n"
    done = command("inspect", f"{folder}\x1b[31m")
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert rb"\x1b[31m" in done.stderr
    sign(folder, edit=lambda m: m["source"].update(checkpoint="red\x1b[31m"))
    assert r"source.checkpoint is 'red\x1b[31m'; expected printable text" in refusal(folder)
