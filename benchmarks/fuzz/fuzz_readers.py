"""The readers of files that come from elsewhere, each with a small valid folder to begin with."""

from __future__ import annotations

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

from benchmarks.fuzz import fuzz_checkpoints as folders
from benchmarks.fuzz.fuzz_checkpoints import ROOT, TABLETOP, tiny

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
_LATER_CHECKPOINT = ("config.json", "config.yml", "model-00001-of-00001.safetensors")
_LATER_BUNDLE = {"manifest.yaml": "yaml", "tokenizer.json": "json"}
_STATISTICS = {"normalizer_action.pth": "pth", "normalizer_propri.pth": "pth", "norm_stats.json": "json"}
_LATER_POLICY = {
    "policy/config.json": "json",
    "policy/policy_preprocessor.json": "json",
    "policy/policy_postprocessor.json": "json",
    "policy/policy_preprocessor_step_5_normalizer_processor.safetensors": "safetensors",
    "policy/policy_postprocessor_step_0_unnormalizer_processor.safetensors": "safetensors",
}
_SETTINGS = {"config.json": "json", "config.yml": "yaml"}
_CASE = {"case.npz": "npz", "config.json": "json"}
READERS = (
    Reader("robot", _robot, dict.fromkeys((f"{name}.yaml" for name in _ROBOTS), "yaml"), _read_robot, 12),
    Reader("bundle", folders.bundle, _BUNDLE_FILES, folders.read_bundle, 10, folders.sign),
    Reader("graph", folders.bundle, _GRAPHS | {"expert.data": "bytes"}, folders.read_bundle, 6, folders.sign),
    Reader("goldens", folders.bundle, {"goldens.npz": "npz"}, folders.verify_bundle, 3, folders.sign),
    Reader("session", _session, {"session.yaml": "yaml", "000001.npz": "npz"}, _read_session, 10),
    Reader("events", _events, {"events.jsonl": "jsonl"}, _read_events, 6),
    Reader("latch", _latch, {"wall-edge/tabletop.fault.json": "json"}, _read_latch, 6),
    Reader("tokenizer", _tokenizer, {"tokenizer.json": "json"}, _read_tokenizer, 8),
    Reader("fast", _fast, {"tokenizer.json": "json", "processor_config.json": "json"}, _read_fast, 8),
    Reader("checkpoint", folders.checkpoint, _CHECKPOINT, folders.read_checkpoint, 10),
    Reader("policy", folders.policy, _POLICY, folders.read_policy, 8),
    Reader(
        "lora",
        folders.lora,
        {"lora/adapter_config.json": "json", "lora/adapter_model.safetensors": "safetensors"},
        folders.read_lora,
        10,
    ),
    Reader("dataset-v2.1", _dataset("v2.1"), _V21, _read_dataset, 5),
    Reader("dataset-v3.0", _dataset("v3.0"), _V30, _read_dataset, 5),
    Reader("vocabulary", _words, {"words.txt": "text"}, _read_words, 8),
    Reader("recipe", _recipe, {"own.yaml": "yaml"}, _read_recipe, 10),
    Reader(
        "later-checkpoint",
        folders.later_checkpoint,
        {name: _CHECKPOINT[name] for name in _LATER_CHECKPOINT} | _STATISTICS,
        folders.read_checkpoint,
        10,
    ),
    Reader("later-settings", folders.flat_settings, _SETTINGS, folders.read_settings, 12),
    Reader("statistics", folders.statistics, _STATISTICS, folders.read_statistics, 12),
    Reader("later-policy", folders.later_policy, _LATER_POLICY, folders.read_later_policy, 10),
    Reader("later-bundle", folders.later_bundle, _LATER_BUNDLE, folders.read_bundle, 8, folders.sign),
    Reader("golden-case", folders.golden, _CASE, folders.read_golden, 3),
    Reader("later-golden", folders.later_golden, _CASE, folders.read_golden, 3),
)
