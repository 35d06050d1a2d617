"""Checkpoints that once exported silently wrong, or not in one line: rows C3 to C10, H5, H10 and H16.

``verify`` cannot see any of these: its goldens come from the same reader.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.inputs.settings import resolve_settings

from wall_edge.bundle import ImageGeometry
from wall_edge.bundle.image_geometry import smart_resize
from wall_edge.cli import app
from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.errors import CheckpointError, WallEdgeError
from wall_edge.policies.vision import patches

Json = dict[str, Any]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NORM, HEAD, EMBEDDINGS = "model.norm.weight", "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture
def folder(slim_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of a whole checkpoint that is small, to change."""
    return Path(shutil.copytree(slim_checkpoint, tmp_path / "checkpoint"))


def edit(folder: Path, change: Callable[[Json], object], name: str = "config.json") -> None:
    path = folder / name
    data = json.loads(path.read_text()) if path.exists() else {}
    change(data)
    path.write_text(json.dumps(data))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def refused(folder: Path, robot: RobotConfig | None = None) -> str:
    """The one line with which the checkpoint is refused, within 5 s of computing and before any work."""
    start = time.process_time()
    with pytest.raises(WallEdgeError) as error:
        ExportInputs.open(Checkpoint(folder), robot)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500
    assert time.process_time() - start < 5
    return str(error.value)


def face(folder: Path, robot: RobotConfig | None = None) -> ImageGeometry:
    return resolve_settings(Checkpoint(folder), robot).cameras["face_view"]


# --- C3: the image processor -----------------------------------------------------------------------

PROCESSOR = "preprocessor_config.json"


def nested(folder: Path) -> None:
    """As transformers 5 saves it."""
    given = json.loads((folder / PROCESSOR).read_text())
    (folder / PROCESSOR).unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": given, "extra": 1}))


@pytest.mark.parametrize("form", ["own file", "nested", "size"])
@pytest.mark.parametrize(("most", "tokens"), [(12845056, 9), (3136, 4), (7056, 9), (7055, 4)])
def test_the_processors_own_resize_counts(folder: Path, form: str, most: int, tokens: int) -> None:
    """C3: an 84x84 frame is 9 tokens, and 4 where the processor allows 3136 pixels."""

    def bound(processor: Json) -> None:
        if form == "size":
            del processor["min_pixels"], processor["max_pixels"]
            processor["size"] = {"shortest_edge": 3136, "longest_edge": most}
        else:
            processor["max_pixels"] = most

    edit(folder, bound, PROCESSOR)
    if form == "nested":
        nested(folder)
    geometry = face(folder)
    assert geometry.tokens == tokens
    side = 84 if tokens == 9 else 56
    assert geometry.resized == smart_resize(84, 84, 28, 3136, most) == (side, side)


def test_the_processor_resizes_the_frame_that_it_is_given() -> None:
    """C3: its resize comes after the two of the policy's own code, and pixels pass through all three."""
    geometry = ImageGeometry(640, 480, processor_min_pixels=3136, processor_max_pixels=30000)
    assert geometry.steps == ((256, 192), (252, 196), smart_resize(252, 196, 28, 3136, 30000))
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    image = Image.fromarray(frame)
    for width, height in geometry.steps:
        for size in ((width, image.height), (width, height)):
            image = image.resize(size, Image.Resampling.BICUBIC)
    width, height = geometry.resized
    plain = ImageGeometry(width, height, resolution=max(width, height))
    assert plain.resized == (width, height)
    np.testing.assert_array_equal(patches(frame, geometry), patches(np.asarray(image), plain))


def test_a_processor_that_resizes_nothing(folder: Path) -> None:
    """C3: its bounds say nothing then."""
    edit(folder, lambda p: p.update(do_resize=False, max_pixels=3136), PROCESSOR)
    assert face(folder).tokens == 9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("do_rescale", False),
        ("do_normalize", False),
        ("rescale_factor", 1 / 127.5),
        ("rescale_factor", 0),
        ("resample", 2),
        ("resample", 0),
        ("image_mean", [0.5, 0.5, 0.5]),
        ("image_std", [0.5, 0.5, 0.5]),
        ("image_std", 0.5),
        ("patch_size", 16),
        ("merge_size", 1),
        ("temporal_patch_size", 1),
        ("image_processor_type", "SiglipImageProcessor"),
        ("size", {"height": 224, "width": 224}),
        ("size", [1, 2]),
        ("min_pixels", 10**30),
        ("max_pixels", -1),
        ("max_pixels", 100),
        ("max_pixels", "3136"),
        ("do_center_crop", True),
        ("do_pad", True),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_what_the_processor_does_otherwise_is_refused_by_name(
    folder: Path, key: str, value: object, is_nested: bool
) -> None:
    """C3: every key that changes pixels is honoured or refused."""
    edit(folder, lambda p: p.update({key: value}), PROCESSOR)
    if is_nested:
        nested(folder)
    assert key in refused(folder)


@pytest.mark.parametrize(
    "settings_",
    [
        {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True, "resample": 3},
        {"rescale_factor": 0.00392156862745098, "image_processor_type": "Qwen2VLImageProcessorFast"},
        {"do_resize": None, "crop_size": None, "do_center_crop": None, "size": None, "device": None},
        {"size": {"max_pixels": 12845056, "min_pixels": 3136}, "processor_class": "Qwen2_5_VLProcessor"},
    ],
)
def test_processors_as_they_are_saved_in_the_wild(folder: Path, settings_: Json) -> None:
    """C3: settings that mean what happens anyway pass."""
    edit(folder, lambda p: p.update(settings_), PROCESSOR)
    assert face(folder).tokens == 9


def test_two_processors_that_disagree(folder: Path) -> None:
    """C3: transformers 4 reads one of these files and transformers 5 the other."""
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": {"max_pixels": 3136}}))
    assert "disagree" in refused(folder)


# --- C7: config.yml --------------------------------------------------------------------------------


def unsized(folder: Path) -> None:
    """Without the block's own resolutions."""

    def drop(config: Json) -> None:
        for camera in config["wall_edge"]["cameras"].values():
            del camera["resolution"]

    edit(folder, drop)


@pytest.mark.parametrize(
    ("data", "face_tokens", "wrist_tokens"),
    [
        ({"resolution": {"face_view": 112, "wrist_view": 56}}, 16, 4),
        ({"resolution": {"face_view": -1, "wrist_view": 128}}, 9, 25),
        ({"resolution": {"wrist_view": 56}}, 9, 4),  # a view of upstream's that is not listed keeps its size
        ({"resolution": 112}, 16, 16),
        ({"resolution": {"face_view": 112, "wrist_view": 112}, "max_pixels": 3136}, 4, 4),
        ({"resolution": {"face_view": 28, "wrist_view": 28}, "min_pixels": 7056}, 9, 9),
        ({}, 81, 81),
    ],
)
def test_resolutions_of_the_training_yaml(
    folder: Path, data: Json, face_tokens: int, wrist_tokens: int
) -> None:
    """C7: upstream's data.resolution by view, min_pixels and max_pixels."""
    unsized(folder)
    (folder / "config.yml").write_text(json.dumps({"data": data}))
    cameras = resolve_settings(Checkpoint(folder), None).cameras
    assert (cameras["face_view"].tokens, cameras["wrist_view"].tokens) == (face_tokens, wrist_tokens)


def test_resolutions_of_a_training_yaml_by_its_other_name(folder: Path) -> None:
    """C7: its other settings were read, and the images had a size of nobody's."""
    unsized(folder)
    (folder / "config.yaml").write_text(json.dumps({"data": {"resolution": 112}}))
    assert resolve_settings(Checkpoint(folder), None).cameras["face_view"].tokens == 16


def test_robot_yaml_may_say_a_resolution_per_camera(folder: Path, robot: RobotConfig) -> None:
    """C7: ROBOT.yaml's word comes before everything in the checkpoint."""
    (folder / "config.yml").write_text(json.dumps({"data": {"resolution": {"face_view": 256}}}))
    asked = {n: replace(c, resolution=112 if n == "face_view" else None) for n, c in robot.cameras.items()}
    cameras = resolve_settings(Checkpoint(folder), replace(robot, cameras=asked)).cameras
    assert (cameras["face_view"].tokens, cameras["wrist_view"].tokens) == (16, 9)


def test_a_resolution_for_all_in_robot_yaml(folder: Path, robot: RobotConfig) -> None:
    """C7: model.resolution holds for cameras of which the checkpoint's block says none."""
    unsized(folder)
    (folder / "config.yml").write_text(json.dumps({"data": {"resolution": {"face_view": 256}}}))
    cameras = resolve_settings(Checkpoint(folder), replace(robot, model=ModelConfig(resolution=56))).cameras
    assert {camera.tokens for camera in cameras.values()} == {4}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"resolution": {"face_view": 256}}, "data.resolution of face_view is 256"),
        ({"resolution": {"face_view": 0}}, "resolution.face_view"),
        ({"resolution": {"face_view": 10**9}}, "resolution.face_view"),
        ({"resolution": "big"}, "resolution"),
        ({"min_pixels": 0}, "min_pixels"),
        ({"min_pixels": 9000, "max_pixels": 100}, "min_pixels"),
        ({"max_pixels": 10**300}, "max_pixels"),
        ({"image_factor": 32}, "image_factor is 32"),
    ],
)
def test_training_yaml_that_cannot_be_meant(folder: Path, data: Json, named: str) -> None:
    """C7: and one that contradicts the wall_edge block is refused too."""
    (folder / "config.yml").write_text(json.dumps({"data": data}))
    assert named in refused(folder)


def test_a_camera_that_the_training_yaml_does_not_know(folder: Path) -> None:
    """C7: a robot's own name for a view is asked for, not taken for one that keeps its size."""
    unsized(folder)
    (folder / "config.yml").write_text(json.dumps({"data": {"resolution": {"face_view": 256}}}))
    assert "data.resolution has no view wrist_view" in refused(folder)


# --- C4: where a tensor comes from -----------------------------------------------------------------


def shard(folder: Path) -> tuple[Path, Path]:
    """Two shards and an index; the norm is in the first."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    first, second = folder / "model-1.safetensors", folder / "model-2.safetensors"
    save_file({NORM: tensors.pop(NORM)}, first)
    save_file(tensors, second)
    weight_map = {NORM: first.name, **dict.fromkeys(tensors, second.name)}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return first, second


def test_a_stale_copy_in_another_shard_is_not_read(folder: Path) -> None:
    """C4: the file that came last used to win."""
    right = load_file(folder / WEIGHTS)[NORM]
    _, second = shard(folder)
    save_file({**load_file(second), NORM: right + 1}, second)
    assert torch.equal(Checkpoint(folder).tensor(NORM), right)


def test_a_tensor_that_the_index_does_not_have_is_not_read(folder: Path) -> None:
    """C4: neither a shard's left-over nor a shard that the index does not name."""
    first, _ = shard(folder)
    save_file({**load_file(first), "model.stale": torch.ones(2)}, first)
    save_file({NORM: torch.zeros(160)}, folder / "model-3.safetensors")
    assert not Checkpoint(folder).has("model.stale")
    assert Checkpoint(folder).tensor(NORM).abs().max() > 0


def test_an_index_beside_whole_weights_is_ambiguous(folder: Path, slim_checkpoint: Path) -> None:
    """C4: transformers takes the one, this exporter took the other."""
    shard(folder)
    shutil.copy(slim_checkpoint / WEIGHTS, folder / WEIGHTS)
    assert "model.safetensors beside an index of shards" in refused(folder)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "a\0b", "..", ""])
def test_an_index_names_files_beside_it(folder: Path, name: str) -> None:
    """C4: never a path."""
    shard(folder)
    edit(folder, lambda index: index["weight_map"].update({NORM: name}), INDEX)
    assert "no such file" in refused(folder)


def test_a_header_with_a_name_twice(folder: Path) -> None:
    """C4: JSON would keep the last of them."""
    data = json.dumps({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
    header = f'{{"a": {data}, "a": {data}}}'.encode()
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert "appears twice" in refused(folder)


# --- C6: quantised checkpoints ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8])
def test_quantised_types(folder: Path, dtype: torch.dtype) -> None:
    """C6: they used to be cast as if they were floats."""
    name = "model.layers.0.self_attn.q_proj.weight"
    rewrite(folder, lambda t: t.update({name: t[name].to(dtype)}))
    assert "a quantised checkpoint" in refused(folder)


@pytest.mark.parametrize("dtype", ["F4", "F8_E8M0", "F6_E2M3", "I4", "U4"])
def test_types_that_torch_cannot_read(folder: Path, dtype: str) -> None:
    """C6, H16: F4 gave a traceback."""
    header = json.dumps({NORM: {"dtype": dtype, "shape": [8], "data_offsets": [0, 4]}}).encode()
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert "a quantised checkpoint" in refused(folder)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.int16, torch.bool, torch.complex64])
def test_weights_that_are_no_floats(folder: Path, dtype: torch.dtype) -> None:
    """H16: I32 was refused only after the whole export."""
    rewrite(folder, lambda t: t.update({NORM: t[NORM].to(dtype)}))
    assert f"tensor {NORM} is of type" in refused(folder)


@pytest.mark.parametrize(
    "end",
    ["weight_scale", "weight_scale_inv", "SCB", "weight.absmax", "weight.quant_map", "qweight", "qzeros",
     "scales", "g_idx", "weight_packed", "weight.quant_state.bitsandbytes__nf4",
     "_weight_qdata", "weight._scale", "W_q"],
)  # fmt: skip
def test_scales_beside_the_weights(folder: Path, end: str) -> None:
    """C6: known by what bitsandbytes, GPTQ, AWQ and compressed-tensors store."""
    rewrite(folder, lambda t: t.update({f"model.layers.0.self_attn.q_proj.{end}": torch.ones(2)}))
    assert "a quantised checkpoint" in refused(folder)


@pytest.mark.parametrize("where", [None, "text_config", "vision_config"])
def test_a_quantisation_config(folder: Path, where: str | None) -> None:
    """C6: also where the weights themselves look like floats."""
    quantised = {"quantization_config": {"quant_method": "fp8"}}
    edit(folder, lambda c: (c.setdefault(where, {}) if where else c).update(quantised))
    assert "a quantised checkpoint" in refused(folder)


def test_an_empty_quantisation_config(folder: Path) -> None:
    """C6: null and {} say nothing."""
    edit(folder, lambda c: c.update(quantization_config=None, compression_config={}))
    Checkpoint(folder).check()


# --- C8: tied embeddings ---------------------------------------------------------------------------


@pytest.mark.parametrize(("root", "text"), [(True, False), (True, None), (None, True), (True, True)])
def test_the_root_decides_whether_embeddings_are_tied(
    folder: Path, root: bool | None, text: bool | None
) -> None:
    """C8: transformers 5's rule; the checkpoint stores no lm_head then."""
    rewrite(folder, lambda t: t.pop(HEAD))

    def tie(config: Json) -> None:
        config.pop("tie_word_embeddings")
        config.update({} if root is None else {"tie_word_embeddings": root})
        config["text_config"] = {} if text is None else {"tie_word_embeddings": text}

    edit(folder, tie)
    assert torch.equal(Checkpoint(folder).load().state_dict()[HEAD], load_file(folder / WEIGHTS)[EMBEDDINGS])


def test_two_different_heads(folder: Path) -> None:
    """C8: tied by the settings and stored apart, a head is one or the other by who loads it."""
    edit(folder, lambda c: c.update(tie_word_embeddings=True))
    assert "lm_head.weight differs" in refused(folder)
    rewrite(folder, lambda t: t.update({HEAD: t[EMBEDDINGS].clone()}))
    Checkpoint(folder).check()


# --- C9: settings that nothing here computes --------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("time_shift", 2),
        ("adaptive_norm", True),
        ("mlp_moe", False),
        ("vla_config", {"a": 1}),
        ("qwen3_5", {"a": 1}),
        ("qwen3_5", True),
        ("model_type", "qwen3_5_vl"),
        ("architectures", ["Qwen3_5ForConditionalGeneration"]),
        ("ar", True),
        ("use_ar_action", True),
        ("action_branch", "ar"),
        ("use_flow_action_expert", False),
        ("partial_rotary_factor", 0.5),
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("layer_types", ["linear_attention"]),
        ("use_qk_norm", True),
    ],
)
@pytest.mark.parametrize("where", [None, "text_config"])
def test_settings_that_nothing_computes(folder: Path, key: str, value: object, where: str | None) -> None:
    """C9: each changes the arithmetic; they used to be ignored."""
    edit(folder, lambda c: (c.setdefault(where, {}) if where else c).update({key: value}))
    assert key in refused(folder)


@pytest.mark.parametrize("section", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(("key", "value"), [("partial_rotary_factor", 0.5), ("mrope_interleaved", True)])
@pytest.mark.parametrize("where", [None, "text_config"])
def test_settings_of_rotary_positions_that_nothing_computes(
    folder: Path, section: str, key: str, value: object, where: str | None
) -> None:
    """C9: newer transformers keep them in a section of their own, in which nobody looked."""
    edit(
        folder,
        lambda c: (c.setdefault(where, {}) if where else c).setdefault(section, {}).update({key: value}),
    )
    path = f"{section}.{key}" if where is None else f"{where}.{section}.{key}"
    assert f"config.json: {path}: {value} is not supported" in refused(folder)


@pytest.mark.parametrize(
    "yaml",
    [
        {"model": {"backbone": "qwen3_5"}},
        {"model_type": "qwen3_5"},
        {"model": {"vla_config": {"a": 1}}},
        {"task": {"action_branch": "ar"}},
        {"data": {"layer_types": ["linear_attention"]}},
        {"model": {"rope_scaling": {"mrope_interleaved": True}}},
    ],
)
def test_the_same_settings_in_the_training_yaml(folder: Path, yaml: Json) -> None:
    """C9: upstream keeps some of them there."""
    (folder / "config.yml").write_text(json.dumps(yaml))
    assert "config.yml" in refused(folder)


def test_their_defaults_pass_and_unknown_switches_are_told(folder: Path) -> None:
    """C9: what is true and unknown stands in the export's report."""
    plain = {"causal_action_attention_mask": False, "use_x_pred": False, "proj_with_mask": True}
    plain |= {"time_shift": 1.0, "action_hidden_size": 160, "action_branch": "flow", "vla_config": {}}
    (folder / "config.yml").write_text(json.dumps({"model": {"noise_scheduler": {"time_shift": 1.5}}}))
    edit(folder, lambda c: c.update(plain, use_cache=True, use_new_gate=True, other=False))
    edit(folder, lambda c: c["vision_config"].update(use_registers=True))
    checkpoint = Checkpoint(folder)
    checkpoint.check()
    assert [note.split(": ")[1].split(" is")[0] for note in checkpoint.notes] == [
        "use_new_gate",
        "vision_config.use_registers",
    ]
    assert Checkpoint(Path(__file__).parents[3] / "examples" / "tabletop" / "checkpoint").notes == []


# --- C10: names and encodings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "rename",
    [
        lambda n: f"model.{n}",
        lambda n: f"module.{n}",
        lambda n: f"_orig_mod.{n}",
        lambda n: f"module._orig_mod.{n}",
        lambda n: f"base_model.model.{n}",
        lambda n: f"_fsdp_wrapped_module.{n}".replace("layers.0.", "layers.0._fsdp_wrapped_module."),
        lambda n: n.replace("visual.", "model.visual.") if n.startswith("visual.") else n,
        lambda n: n.replace("model.", "model.language_model.", 1) if n.startswith("model.") else n,
        lambda n: "model." + (n.replace("model.", "model.language_model.", 1) if n[0] == "m" else n),
    ],
)
def test_names_that_other_tools_wrap(folder: Path, rename: Callable[[str], str]) -> None:
    """C10: LeRobot, DataParallel, torch.compile, PEFT, FSDP and transformers 4.52: the same model."""
    before = Checkpoint(folder).load().state_dict()
    tensors = load_file(folder / WEIGHTS)
    save_file({rename(name): tensor for name, tensor in tensors.items()}, folder / WEIGHTS)
    after = Checkpoint(folder)
    assert set(before) == set(after.load().state_dict())
    assert all(torch.equal(after.tensor(name), value) for name, value in before.items())
    assert len(list(after.normalizers())) == 4


def test_a_tensor_under_two_names(folder: Path) -> None:
    """C10: and nothing says which was trained."""
    rewrite(folder, lambda t: t.update({f"module.{NORM}": t[NORM] + 1}))
    assert f"are both {NORM}" in refused(folder)


def test_lora_layers_that_were_saved_with_the_base(folder: Path) -> None:
    """C10: the right advice, not 'copy the checkpoint again'."""
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    rewrite(folder, lambda t: t.update({name: torch.ones(2, 160)}))
    assert "merge_and_unload" in refused(folder)


def test_byte_order_marks(folder: Path, tmp_path: Path) -> None:
    """C10: in config.json, config.yml, the processor and the vocabulary file."""
    (folder / "config.yml").write_text("data: {}\n")
    for name in ("config.json", "config.yml", PROCESSOR):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    words = tmp_path / "words.txt"
    words.write_bytes(b"\xef\xbb\xbftouch the red block.\n")
    marked = ExportInputs.open(Checkpoint(folder), None, words).head_tokens
    words.write_text("touch the red block.\n")
    plain = ExportInputs.open(Checkpoint(folder), None, words).head_tokens
    assert marked is not None
    assert plain is not None
    assert marked.tolist() == plain.tolist()


# --- H5, H10, H16: sizes, names, numbers -----------------------------------------------------------

CAMERA = {"width": 84, "height": 84}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.update(num_hidden_layers=100_000), "num_hidden_layers is 100000"),
        (lambda c: c.update(num_hidden_layers=1000), "num_hidden_layers is 1000"),
        (lambda c: c["vision_config"].update(depth=10**9), "vision_config.depth"),
        (lambda c: c["vision_config"].update(depth=500), "vision_config.depth"),
        (lambda c: c["dof_config"].update(gripper=10**9), "gripper"),
        (lambda c: c["agent_pos_config"].update(gripper=10**9), "gripper"),
        (lambda c: c.update(dof_config={f"j{n}": 1 for n in range(3000)}), "dof_config"),
        (lambda c: c.update(vocab_size=10**12), "vocab_size"),
        (lambda c: c.update(hidden_size=10**9), "hidden_size"),
        (lambda c: c["experts"][1].update(intermediate_size=10**12), "intermediate_size"),
        (lambda c: c["vision_config"].update(intermediate_size=10**12), "intermediate_size"),
        (lambda c: c["vision_config"].update(patch_size=10**9), "patch_size"),
        (lambda c: c["vision_config"].update(temporal_patch_size=10**6), "temporal_patch_size"),
        (lambda c: c["vision_config"].update(spatial_merge_size=10**6), "spatial_merge_size"),
        (lambda c: c["vision_config"].update(window_size=10**9), "window_size"),
        (lambda c: c["vision_config"].update(fullatt_block_indexes=[-1]), "fullatt_block_indexes"),
        (lambda c: c.update(rope_theta=1e300), "rope_theta"),
        (lambda c: c.update(rms_norm_eps=1e300), "rms_norm_eps"),
        (lambda c: c["wall_edge"].update(horizon=10**9), "horizon"),
        (
            lambda c: (
                c["wall_edge"].pop("integration_steps"),
                c["noise_scheduler"].update(num_inference_timesteps=10**9),
            ),
            "num_inference_timesteps",
        ),
        (lambda c: c["wall_edge"]["cameras"].update(face_view={"width": 16384, "height": 16384}), "16384"),
        (lambda c: c["wall_edge"].update(cameras={f"c{n}": CAMERA for n in range(2000)}), "2000 cameras"),
        (lambda c: c["wall_edge"]["cameras"]["face_view"].update(resolution=8000), "tokens"),
        (
            lambda c: c["wall_edge"].update(
                cameras={f"c{n}": {**CAMERA, "resolution": 1700} for n in range(8)}
            ),
            "tokens in all",
        ),
    ],
)
def test_sizes_that_no_model_has(folder: Path, change: Callable[[Json], object], named: str) -> None:
    """H5: refused at once, before a model of that size is made."""
    edit(folder, change)
    assert named in refused(folder)


@pytest.mark.parametrize(
    "name", ["<|action|>", "../../evil", "a/b", "a\nb", "a\x1b[2J", "x" * 65, "", " face", "<|image_pad|>"]
)
def test_cameras_have_plain_names(folder: Path, name: str) -> None:
    """H10: the name goes into the prompt and into file names."""
    edit(folder, lambda c: c["wall_edge"].update(cameras={name: CAMERA}))
    assert "a camera named" in refused(folder)


@pytest.mark.parametrize("name", ["<|action|>", "../evil", "a\nb"])
def test_joints_have_plain_names(folder: Path, name: str) -> None:
    """H10: they reach the manifest and the terminal."""
    for key in ("dof_config", "agent_pos_config"):
        edit(folder, lambda c, key=key: c.update({key: {**c[key], name: c[key].pop("gripper")}}))
    assert "plain names" in refused(folder)


@pytest.mark.parametrize(
    "text",
    ["9" * 5000, '{"a": ' + "9" * 5000 + "}", "[" * 100_000, "NaN", "\ud800"],
)
@pytest.mark.parametrize("name", ["config.json", PROCESSOR, "processor_config.json"])
def test_json_that_no_tool_writes(folder: Path, name: str, text: str) -> None:
    """H16: absurd digits, deep nesting, lone surrogates: one line."""
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert name in refused(folder)


@pytest.mark.parametrize("text", ["a: &a [x, x]\nb: &b [*a, *a]\n" * 2, "a: 2021-99-99", "a: " + "[" * 5000])
def test_yaml_that_no_tool_writes(folder: Path, text: str) -> None:
    """H16."""
    (folder / "config.yml").write_text(text)
    assert "config.yml" in refused(folder)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "tokenizer.json", PROCESSOR, "config.yml"])
def test_pipes_in_place_of_files(folder: Path, name: str) -> None:
    """H16: a pipe blocks whoever opens it to read."""
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert name in refused(folder)


@pytest.mark.parametrize("limit", [20, 24, 40])
def test_too_few_open_files(folder: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """H16: a low limit of descriptors is one line, not a traceback of whatever library met it first."""
    from wall_edge_export.cli import export as cli

    monkeypatch.setattr(cli.resource, "getrlimit", lambda _: (limit, limit))
    result = CliRunner().invoke(app, ["export", str(folder), "--out", str(folder.parent / "out")])
    assert isinstance(result.exception, WallEdgeError)
    assert f"a limit of {limit} open files" in str(result.exception)


@pytest.mark.parametrize(
    ("statistic", "change"),
    [
        ("min", lambda v: v * float("nan")),
        ("delta", lambda v: v * float("inf")),
        ("delta", lambda v: v * 0),
        ("delta", lambda v: -v),
        ("min", lambda v: v[:3]),
        ("delta", lambda v: v[:3]),
        ("min", lambda v: v.repeat(2)),
        ("min", lambda v: v[None]),
    ],
)
@pytest.mark.parametrize("kind", ["action", "propri"])
def test_normalisers_that_cannot_be_divided_by(
    folder: Path, kind: str, statistic: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """C, H3's kind at export: finite, positive and one for every degree of freedom."""
    name = f"action_preprocessor.normalizer_{kind}.{statistic}.tabletop"
    rewrite(folder, lambda t: t.update({name: change(t[name]).contiguous()}))
    with pytest.raises(CheckpointError, match=r"normaliser (min|of)"):
        resolve_settings(Checkpoint(folder), None)
