"""Small checkpoints, policies and bundles of either generation to begin with, and how each is read."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(tempfile.gettempdir()) / "wall-edge-reader-fuzz"
"""The checkpoints and bundles that everything begins with are kept here; delete it after a change of the
exporter."""
TABLETOP = ROOT / "examples" / "tabletop"
CASES = ROOT / "tests" / "golden" / "cases"
FIRST, LATER = "tiny", "tiny-0.5"


@cache
def tiny(shape: str = FIRST) -> Path:
    """A random checkpoint of 1 MB."""
    from wall_edge_export.reference.random_checkpoint import write_random_checkpoint

    out = WORK / shape
    if not out.exists():
        write_random_checkpoint(shape, out, dtype="fp32")
        if shape == LATER:  # time is spent on images, a bundle's on its goldens
            config = json.loads((out / "config.json").read_text())
            cameras = config["wall_edge"]["cameras"]
            config["wall_edge"]["cameras"] = {"face_view": cameras["face_view"]}
            (out / "config.json").write_text(json.dumps(config))
    return out


@cache
def _exported(shape: str) -> Path:
    from wall_edge_export.bundle.options import ExportOptions
    from wall_edge_export.bundle.pipeline import export_bundle
    from wall_edge_export.checkpoint.checkpoint import Checkpoint

    words = tiny(shape).with_name("words.txt")
    words.write_text("touch the red block.\nlift it\n")
    out = tiny(shape).with_name(f"bundle-of-{shape}")
    if not out.exists():
        export_bundle(Checkpoint(tiny(shape)), out, None, ExportOptions(vocabulary=words))
    return out


def bundle(folder: Path) -> None:
    shutil.copytree(_exported(FIRST), folder, dirs_exist_ok=True)


def later_bundle(folder: Path) -> None:
    """Whose prompt spells the state, and whose times end at 0.999."""
    shutil.copytree(_exported(LATER), folder, dirs_exist_ok=True)


def sign(folder: Path, changed: str) -> None:
    """Make a bundle's digests right again after a change, as an attacker would."""
    from wall_edge.bundle import DIGEST, MANIFEST, file_digest

    path = folder / MANIFEST
    if changed not in (MANIFEST, DIGEST) and (folder / changed).is_file() and _small(folder / changed):
        old = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["files"][changed]
        path.write_text(path.read_text().replace(old, file_digest(folder / changed)))
    if changed != DIGEST and path.is_file() and _small(path):
        (folder / DIGEST).write_text(f"{file_digest(path)}  {MANIFEST}\n")


def _small(path: Path) -> bool:
    return path.stat().st_size < 1 << 26


def read_bundle(folder: Path) -> None:
    from importlib import import_module

    from wall_edge.bundle import Bundle

    inspect = import_module("wall_edge.cli.bundle.inspect")
    from wall_edge.policies.prompts import Prompts
    from wall_edge.policies.state_text import said_state

    opened = Bundle(folder)
    json.dumps(asdict(opened.manifest))
    from rich.console import Console

    console = Console(file=io.StringIO())
    layout = opened.manifest.embodiment.action
    for table in (inspect._facts(opened.manifest), inspect._degrees("", layout), inspect._graphs(opened)):
        console.print(table)
    prompts, state = Prompts.of(opened), opened.manifest.embodiment.state
    for value in (-1.0, 0.0, 3.0):
        at = np.array(state.offset) + value * np.array(state.scale)
        prompts.action("lift it", said_state(state, opened.manifest.state_text, at))


def verify_bundle(folder: Path) -> None:
    import wall_edge_engines

    from wall_edge.bundle import Bundle
    from wall_edge.verification.verify import verify

    opened = Bundle(folder)
    verify(opened, wall_edge_engines.load(opened))


def checkpoint(folder: Path) -> None:
    shutil.copytree(tiny(), folder, dirs_exist_ok=True)
    shutil.copy(TABLETOP / "checkpoint" / "preprocessor_config.json", folder)
    config = json.loads((folder / "config.json").read_text())
    training = {key: config[key] for key in ("dof_config", "agent_pos_config") if key in config}
    (folder / "config.yml").write_text(yaml.safe_dump(training))


def read_checkpoint(folder: Path) -> None:
    from wall_edge_export.checkpoint.checkpoint import Checkpoint
    from wall_edge_export.inputs.export_inputs import ExportInputs

    source = ExportInputs.open(Checkpoint(folder), None)
    repr((source.graph_inputs, source.checkpoint.notes))


def later_checkpoint(folder: Path) -> None:
    """As Wall-X 1.1 saves it: settings in the sections of ``config.yml``, statistics in every place."""
    shutil.copytree(tiny(LATER), folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    moved = ("dof_config", "agent_pos_config", "action_horizon_flow", "noise_scheduler")
    task = {key: config[key] for key in moved}
    config["wall_edge"] = {
        key: config["wall_edge"][key] for key in ("robot", "cameras", "action_rate_hz", "action_reference")
    }
    (folder / "config.json").write_text(json.dumps(config))
    training = {
        "task": {**task, "use_state_string_representation": True},
        "model": {"hidden_size": config["hidden_size"], "norm_moe": True},
        "data": {
            "state_bins": 256,
            "resolution": {"face_view": 448},
            "min_pixels": 3136,
            "key_mappings": {"action": "action", "state": "observation.state"},
            "camera_name_mapping": {"face_view": "front view"},
            "use_embodied_system_prompt_ratio": 0.0,
        },
    }
    (folder / "config.yml").write_text(yaml.safe_dump(training, sort_keys=False))
    statistics(folder)


def flat_settings(folder: Path) -> None:
    """A later checkpoint without its weights, whose ``config.yml`` is flat and of a smaller robot."""
    shutil.copy(tiny(LATER) / "config.json", folder)
    training = {
        "customized_robot_config": {
            "name": "arm",
            "customized_dof_config": {"joint": 6, "action_padding": 20},
            "customized_agent_pos_config": {"joint": 6, "action_padding": 20},
        },
        "enable_customized_robot_config": True,
        "action_horizon_flow": 32,
        "state_bins": 256,
        "noise_scheduler": {"s": 0.999, "time_shift": 2.0, "num_inference_timesteps": 10},
        "data": {"resolution": 448, "image_factor": 28},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(training, sort_keys=False))


def read_settings(folder: Path) -> None:
    from wall_edge_export.checkpoint.checkpoint import CheckpointOutline
    from wall_edge_export.inputs.settings import chunk_settings

    outline = CheckpointOutline(folder)
    repr((chunk_settings(outline, None), outline.notes))


def statistics(folder: Path) -> None:
    """Pickles and quantiles of one robot, by the numbers that a random checkpoint has."""
    import torch

    robots = ("x2_normal", "DobbE")
    for kind in ("action", "propri"):
        low, delta = torch.full((26,), -1.0), torch.full((26,), 2.0)
        named = {f"min.{robot}": low for robot in robots} | {f"delta.{robot}": delta for robot in robots}
        torch.save(named, folder / f"normalizer_{kind}.pth")
    quantiles = {"mean": [0.0] * 26, "q01": [-1.0] * 26, "q99": [1.0] * 26}
    stats = {"action": quantiles, "observation.state": quantiles}
    (folder / "norm_stats.json").write_text(json.dumps({"norm_stats": stats}))


def read_statistics(folder: Path) -> None:
    from wall_edge_export.checkpoint.normalizers.places import normalizer_files, statistic_places
    from wall_edge_export.checkpoint.normalizers.tables import agreed

    agreed(statistic_places(folder, (), {}, {"action": {26}, "propri": {26}}), "x2_normal")
    for path in normalizer_files(folder):
        path.name.encode()


def policy(folder: Path) -> None:
    from tests.unit.checkpoint.test_lerobot_policy import save_policy

    save_policy(folder / "policy", tiny())
    shutil.copytree(tiny(), folder / "base")


def read_policy(folder: Path) -> None:
    from wall_edge_export.checkpoint.checkpoint import Checkpoint
    from wall_edge_export.inputs.export_inputs import ExportInputs

    from wall_edge.config import load_robot

    robot = load_robot(TABLETOP / "robot.yaml")
    source = ExportInputs.open(Checkpoint(folder / "policy", folder / "base"), robot)
    repr(source.graph_inputs)


def later_policy(folder: Path) -> None:
    """LeRobot's ``wall_oss_05``: the architecture among its settings, processors that clamp the state."""
    from tests.unit.checkpoint.test_lerobot_wall_oss_05 import save

    save(folder / "policy")


def read_later_policy(folder: Path) -> None:
    from wall_edge_export.checkpoint.checkpoint import Checkpoint
    from wall_edge_export.inputs.settings import resolve_settings

    from tests.unit.checkpoint.test_lerobot_wall_oss_05 import describe
    from wall_edge.config import load_robot

    made = Checkpoint(folder / "policy")
    repr((resolve_settings(made, describe(load_robot(TABLETOP / "robot.yaml"))), made.notes))


def lora(folder: Path) -> None:
    from tests.unit.checkpoint.test_lora import Q, adapter, pair

    patterns = {"rank_pattern": {r"layers\.\d+\.q_proj": 2}, "alpha_pattern": {"q_proj": 4}}
    adapter(folder / "lora", pair(Q, *_q_shape()), **patterns)


@cache
def _shapes() -> dict[str, tuple[int, ...]]:
    from wall_edge_export.checkpoint.weights import stored_weights

    return {name: tensor.shape for name, tensor in stored_weights(tiny()).items()}


def _q_shape() -> tuple[int, ...]:
    from tests.unit.checkpoint.test_lora import Q

    return _shapes()[f"{Q}.weight"]


def read_lora(folder: Path) -> None:
    import torch
    from wall_edge_export.checkpoint.lora.adapter import LoraAdapter, stored_adapter

    made = LoraAdapter(folder / "lora", stored_adapter(folder / "lora"), _shapes())
    for name in made.touched():
        made.merged(name, lambda name=name: torch.zeros(_shapes()[name]))  # type: ignore[misc]


def golden(folder: Path) -> None:
    shutil.copytree(CASES / "two_views", folder, dirs_exist_ok=True)


def later_golden(folder: Path) -> None:
    """A case with times of its own and what dead degrees of freedom go to."""
    shutil.copytree(CASES / "w10_adaptive", folder, dirs_exist_ok=True)


def read_golden(folder: Path) -> None:
    from wall_edge_export.reference.golden_case import GoldenCase

    case = GoldenCase(folder)
    repr((case.graph_inputs, case.schedule, case.steps()))
