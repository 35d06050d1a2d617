"""The readers of files that come from elsewhere, each with a small valid folder to begin with."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(tempfile.gettempdir()) / "wall-edge-reader-fuzz"
"""The checkpoint and the bundle that everything begins with are kept here; delete it after a change of the
exporter."""
TABLETOP = ROOT / "examples" / "tabletop"

_ROBOTS = ("robot", "two_buses", "mixed", "real", "first")
"""Both editions, a real robot, and one that extends two others."""


@dataclass(frozen=True)
class Reader:
    """``make`` writes a valid folder, ``read`` reads it; ``files`` are what is changed, by kind.

    ``sign`` is told what was changed and makes digests right again, as an attacker would. ``share`` of all
    cases goes to this reader.
    """

    name: str
    make: Callable[[Path], None]
    files: dict[str, str]
    read: Callable[[Path], object]
    share: int = 10
    sign: Callable[[Path, str], None] | None = None


def _robot(folder: Path) -> None:
    shutil.copy(TABLETOP / "robot.yaml", folder)
    real = yaml.safe_load((TABLETOP / "robot.yaml").read_text())
    del real["simulation"]
    real["simulated"] = False
    real["drives"]["arm"]["port"] = "/dev/ttyUSB0"
    real["model"] = {"robot": "a", "horizon": 8, "action_rate_hz": 30.0, "time_grid": [0.0, 0.5, 1.0]}
    real["instruction"] = "touch the red block."
    for number, camera in enumerate(real["cameras"].values()):
        camera |= {"kind": "opencv", "device": number}
    (folder / "real.yaml").write_text(yaml.safe_dump(real, sort_keys=False))
    for name in ("two_buses", "mixed"):
        shutil.copy(TABLETOP / f"{name}.yaml", folder)
    first = {key: value for key, value in real.items() if key not in ("simulated", "drives", "joints")}
    first["drive"] = {**real["drives"]["arm"], "joints": real["joints"]}
    (folder / "first.yaml").write_text(yaml.safe_dump(first, sort_keys=False))


def _read_robot(folder: Path) -> None:
    from wall_edge.config import load_robot

    for name in ("robot", "real", "mixed", "first"):
        json.dumps(asdict(load_robot(folder / f"{name}.yaml")), default=str)


def _bundle(folder: Path) -> None:
    shutil.copytree(_exported(), folder, dirs_exist_ok=True)


@cache
def _exported() -> Path:
    from wall_edge_export.bundle.options import ExportOptions
    from wall_edge_export.bundle.pipeline import export_bundle
    from wall_edge_export.checkpoint.checkpoint import Checkpoint

    words = tiny().with_name("words.txt")
    words.write_text("touch the red block.\nlift it\n")
    out = tiny().with_name("bundle")
    if not out.exists():
        export_bundle(Checkpoint(tiny()), out, None, ExportOptions(vocabulary=words))
    return out


@cache
def tiny() -> Path:
    """A random checkpoint of 1 MB."""
    from wall_edge_export.reference.random_checkpoint import write_random_checkpoint

    out = WORK / "tiny"
    if not out.exists():
        write_random_checkpoint("tiny", out, dtype="fp32")
    return out


def _sign(folder: Path, changed: str) -> None:
    from wall_edge.bundle import DIGEST, MANIFEST, file_digest, write_manifest  # noqa: F401

    path = folder / MANIFEST
    if changed not in (MANIFEST, DIGEST) and (folder / changed).is_file() and _small(folder / changed):
        old = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["files"][changed]
        path.write_text(path.read_text().replace(old, file_digest(folder / changed)))
    if changed != DIGEST and path.is_file() and _small(path):
        (folder / DIGEST).write_text(f"{file_digest(path)}  {MANIFEST}\n")


def _small(path: Path) -> bool:
    return path.stat().st_size < 1 << 26


def _read_bundle(folder: Path) -> None:
    from importlib import import_module

    from wall_edge.bundle import Bundle

    inspect = import_module("wall_edge.cli.bundle.inspect")
    from wall_edge.policies.prompts import Prompts

    opened = Bundle(folder)
    json.dumps(asdict(opened.manifest))
    from rich.console import Console

    console = Console(file=io.StringIO())
    layout = opened.manifest.embodiment.action
    for table in (inspect._facts(opened.manifest), inspect._degrees("", layout), inspect._graphs(opened)):
        console.print(table)
    Prompts.of(opened)


def _verify_bundle(folder: Path) -> None:
    import wall_edge_engines

    from wall_edge.bundle import Bundle
    from wall_edge.verification.verify import verify

    opened = Bundle(folder)
    verify(opened, wall_edge_engines.load(opened))


def _session(folder: Path) -> None:
    from tests.unit.telemetry.test_session_format import HEADER, add, moment
    from wall_edge.session_format import SessionWriter

    writer = SessionWriter(folder, HEADER)
    for number in range(2):
        add(writer, moment(number))


def _read_session(folder: Path) -> None:
    from wall_edge.session_format import read_session

    session = read_session(folder)
    for path in session.files:
        session.sample(path)


def _events(folder: Path) -> None:
    chunk = {"kind": "chunk", "latency_ms": 1 / 3, "words": "touch", "state": [0.0] * 3}
    lines = [json.dumps({"time_ns": number, **chunk, "index": number}) for number in range(5)]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _read_events(folder: Path) -> None:
    from wall_edge.runtime.telemetry.event_log import read_events

    json.dumps(read_events(folder / "events.jsonl"))


@cache
def _real_robot() -> Any:
    from wall_edge.config import load_robot

    with tempfile.TemporaryDirectory() as folder:
        _robot(Path(folder))
        return load_robot(Path(folder) / "real.yaml")


def _latch(folder: Path) -> None:
    from wall_edge.runtime.latch import latch_path, set_latch

    os.environ["XDG_STATE_HOME"] = str(folder)
    set_latch(_real_robot(), "joint elbow_flex: a test")
    path = latch_path(_real_robot())
    assert path is not None
    assert path.relative_to(folder)


def _read_latch(folder: Path) -> None:
    from wall_edge.runtime.latch import clear_latch, require_unlatched

    os.environ["XDG_STATE_HOME"] = str(folder)
    try:
        require_unlatched(_real_robot())
    finally:
        clear_latch(_real_robot())


def _tokenizer(folder: Path) -> None:
    shutil.copy(TABLETOP / "checkpoint" / "tokenizer.json", folder)


def _read_tokenizer(folder: Path) -> None:
    from wall_edge.policies.prompt_text import PromptTokenizer, action_text

    tokenizer = PromptTokenizer(folder / "tokenizer.json")
    tokenizer.decode(tokenizer.encode(action_text("touch the red block. " * 20)).tolist())


def _fast(folder: Path) -> None:
    from tests.unit.policies.test_fast import SETTINGS, tiny_tokenizer

    tiny_tokenizer(folder / "tokenizer.json", SETTINGS)
    (folder / "processor_config.json").write_text(json.dumps(asdict(SETTINGS) | {"action_dim": None}))


def _read_fast(folder: Path) -> None:
    from wall_edge.bundle import FastSettings
    from wall_edge.policies.fast.codec import FastCodec

    codec = FastCodec(folder / "tokenizer.json", FastSettings.read(folder / "processor_config.json"), 8, 3)
    codec.decode(codec.encode(np.zeros((8, 3))))


def _checkpoint(folder: Path) -> None:
    shutil.copytree(tiny(), folder, dirs_exist_ok=True)
    shutil.copy(TABLETOP / "checkpoint" / "preprocessor_config.json", folder)
    config = json.loads((folder / "config.json").read_text())
    training = {key: config[key] for key in ("dof_config", "agent_pos_config") if key in config}
    (folder / "config.yml").write_text(yaml.safe_dump(training))


def _read_checkpoint(folder: Path) -> None:
    from wall_edge_export.checkpoint.checkpoint import Checkpoint
    from wall_edge_export.inputs.export_inputs import ExportInputs

    source = ExportInputs.open(Checkpoint(folder), None)
    repr(source.graph_inputs)


def _policy(folder: Path) -> None:
    from test_lerobot_policy import save_policy

    save_policy(folder / "policy", tiny())
    shutil.copytree(tiny(), folder / "base")


def _read_policy(folder: Path) -> None:
    from wall_edge_export.checkpoint.checkpoint import Checkpoint
    from wall_edge_export.inputs.export_inputs import ExportInputs

    from wall_edge.config import load_robot

    robot = load_robot(TABLETOP / "robot.yaml")
    source = ExportInputs.open(Checkpoint(folder / "policy", folder / "base"), robot)
    repr(source.graph_inputs)


def _lora(folder: Path) -> None:
    from test_lora import Q, adapter, pair

    patterns = {"rank_pattern": {r"layers\.\d+\.q_proj": 2}, "alpha_pattern": {"q_proj": 4}}
    adapter(folder / "lora", pair(Q, *_q_shape()), **patterns)


@cache
def _shapes() -> dict[str, tuple[int, ...]]:
    from wall_edge_export.checkpoint.weights import stored_weights

    return {name: tensor.shape for name, tensor in stored_weights(tiny()).items()}


def _q_shape() -> tuple[int, ...]:
    from test_lora import Q

    return _shapes()[f"{Q}.weight"]


def _read_lora(folder: Path) -> None:
    import torch
    from wall_edge_export.checkpoint.lora.adapter import LoraAdapter

    made = LoraAdapter(folder / "lora", _shapes())
    for name in made.touched():
        made.merged(name, lambda name=name: torch.zeros(_shapes()[name]))  # type: ignore[misc]


def _dataset(version: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from tests.tiny_lerobot import Recipe

        Recipe(version, size=28, stored="image").make(folder)

    return make


def _read_dataset(folder: Path) -> None:
    from wall_edge_export.data.load import load_samples

    from tests.tiny_lerobot import CAMERAS, EMBODIMENT, FPS
    from wall_edge.bundle import ImageGeometry

    cameras = dict.fromkeys(CAMERAS, ImageGeometry(28, 28))
    load_samples(folder, embodiment=EMBODIMENT, cameras=cameras, horizon=6, action_rate_hz=FPS, count=8)


def _words(folder: Path) -> None:
    (folder / "words.txt").write_text("touch the red block.\nlift the arm\n\ngo home\n")


def _read_words(folder: Path) -> None:
    from wall_edge_export.inputs.export_inputs import subgoal_tokens

    subgoal_tokens(folder / "words.txt", _prompt_tokenizer())


@cache
def _prompt_tokenizer() -> Any:
    from wall_edge.policies.prompt_text import PromptTokenizer

    return PromptTokenizer(tiny() / "tokenizer.json")


def _recipe(folder: Path) -> None:
    shutil.copy(ROOT / "export" / "recipes" / "int8-int4.yaml", folder / "own.yaml")


def _read_recipe(folder: Path) -> None:
    from wall_edge_export.quantize.precision import load_recipe

    load_recipe(str(folder / "own.yaml")).calibrated()


def _golden(folder: Path) -> None:
    shutil.copytree(ROOT / "tests" / "golden" / "cases" / "two_views", folder, dirs_exist_ok=True)


def _read_golden(folder: Path) -> None:
    from wall_edge_export.reference.golden_case import GoldenCase

    GoldenCase(folder)


_BUNDLE_FILES = {
    "manifest.yaml": "yaml",
    "manifest.sha256": "bytes",
    "lm_head_tokens.npy": "npy",
    "tokenizer.json": "json",
}
_GRAPHS = {f"{name}.onnx": "bytes" for name in ("vision", "prefix", "lm_head", "expert")}
_EPISODE = "data/chunk-000/episode_000000.parquet"
_V21 = {
    "meta/info.json": "json",
    "meta/episodes.jsonl": "jsonl",
    "meta/tasks.jsonl": "jsonl",
    _EPISODE: "parquet",
}
_V30 = {
    "meta/info.json": "json",
    "meta/tasks.parquet": "parquet",
    "meta/episodes/chunk-000/file-000.parquet": "parquet",
    "data/chunk-000/file-000.parquet": "parquet",
}
_CHECKPOINT = {
    "config.json": "json",
    "config.yml": "yaml",
    "preprocessor_config.json": "json",
    "tokenizer.json": "json",
    "model.safetensors.index.json": "json",
    "model-00001-of-00001.safetensors": "safetensors",
}
_POLICY = {
    "policy/config.json": "json",
    "policy/policy_preprocessor.json": "json",
    "policy/policy_postprocessor.json": "json",
    "policy/policy_preprocessor_step_3_normalizer_processor.safetensors": "safetensors",
    "policy/model.safetensors": "safetensors",
    "base/config.json": "json",
}
READERS = (
    Reader("robot", _robot, dict.fromkeys((f"{name}.yaml" for name in _ROBOTS), "yaml"), _read_robot, 12),
    Reader("bundle", _bundle, _BUNDLE_FILES, _read_bundle, 10, _sign),
    Reader("graph", _bundle, _GRAPHS | {"expert.data": "bytes"}, _read_bundle, 6, _sign),
    Reader("goldens", _bundle, {"goldens.npz": "npz"}, _verify_bundle, 3, _sign),
    Reader("session", _session, {"session.yaml": "yaml", "000001.npz": "npz"}, _read_session, 10),
    Reader("events", _events, {"events.jsonl": "jsonl"}, _read_events, 6),
    Reader("latch", _latch, {"wall-edge/tabletop.fault.json": "json"}, _read_latch, 6),
    Reader("tokenizer", _tokenizer, {"tokenizer.json": "json"}, _read_tokenizer, 8),
    Reader("fast", _fast, {"tokenizer.json": "json", "processor_config.json": "json"}, _read_fast, 8),
    Reader("checkpoint", _checkpoint, _CHECKPOINT, _read_checkpoint, 10),
    Reader("policy", _policy, _POLICY, _read_policy, 8),
    Reader(
        "lora",
        _lora,
        {"lora/adapter_config.json": "json", "lora/adapter_model.safetensors": "safetensors"},
        _read_lora,
        10,
    ),
    Reader("dataset-v2.1", _dataset("v2.1"), _V21, _read_dataset, 5),
    Reader("dataset-v3.0", _dataset("v3.0"), _V30, _read_dataset, 5),
    Reader("vocabulary", _words, {"words.txt": "text"}, _read_words, 8),
    Reader("recipe", _recipe, {"own.yaml": "yaml"}, _read_recipe, 10),
    Reader("golden-case", _golden, {"case.npz": "npz", "config.json": "json"}, _read_golden, 3),
)
