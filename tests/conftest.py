"""What several suites share: checkpoints, bundles and a robot, made once a session."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig, load_robot

ROOT = Path(__file__).parents[1]
CASES = Path(__file__).parent / "golden" / "cases"
TABLETOP = ROOT / "examples" / "tabletop"
sys.path.insert(0, str(TABLETOP))  # the example's modules are scripts' siblings, not a package


@pytest.fixture(scope="session")
def golden_case() -> Path:
    """The smaller of the two golden cases; read-only."""
    return CASES / "two_views"


@pytest.fixture
def broken_case(golden_case: Path, tmp_path: Path) -> Path:
    """A copy of a golden case for a test to damage."""
    return Path(shutil.copytree(golden_case, tmp_path / "case"))


@pytest.fixture(scope="session")
def robot() -> RobotConfig:
    """The tabletop robot."""
    return load_robot(TABLETOP / "robot.yaml")


@pytest.fixture(scope="session")
def session_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded session of the tabletop to calibrate on; read-only."""
    from record_session import record

    return record(tmp_path_factory.mktemp("session") / "session", 40, seed=11)


@pytest.fixture(scope="session")
def export_once_traced(robot: RobotConfig) -> Callable[..., Any]:
    """``export_bundle`` for the tabletop robot that traces a model's graphs once, not once an export.

    Tracing is most of a small export's time. Only for checkpoints whose cameras are the tabletop's.
    """
    from wall_edge_export import graph_writer
    from wall_edge_export.pipeline import export_bundle

    trace, kept = graph_writer.trace, {}

    def traced(stage: Any) -> Any:
        key = repr((stage.spec, stage.module.model.shape))
        if key not in kept:
            kept[key] = trace(stage)
        return kept[key]

    def export(checkpoint: Any, out: Path, *arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graph_writer, "trace", traced)
            return export_bundle(checkpoint, out, robot, *arguments, **options)

    return export


@pytest.fixture(scope="session")
def export_tabletop(
    tmp_path_factory: pytest.TempPathFactory, export_once_traced: Callable[..., Any]
) -> Callable[..., Path]:
    """Exports the shipped policy; ``options`` are those of :class:`wall_edge_export.pipeline.Request`."""
    from wall_edge_export.checkpoint import Checkpoint
    from wall_edge_export.pipeline import Request

    def export(**options: Any) -> Path:
        out = tmp_path_factory.mktemp("bundle") / "tabletop"
        export_once_traced(Checkpoint(TABLETOP / "checkpoint"), out, Request(**options))
        return out

    return export


@pytest.fixture(scope="session")
def shipped_bundle(export_tabletop: Callable[..., Path]) -> Path:
    """The shipped policy in float32; read-only. Use ``copy_bundle`` to damage one."""
    return export_tabletop()


@pytest.fixture(scope="session")
def int8_bundle(export_tabletop: Callable[..., Path], session_data: Path) -> Path:
    """The shipped policy in the recipe int8, calibrated on 24 samples; read-only."""
    return export_tabletop(precision="int8", calibration=session_data, samples=24)


@pytest.fixture
def copy_bundle(shipped_bundle: Path, tmp_path: Path) -> Callable[[], Bundle]:
    """Makes a private copy of the shipped bundle; opening it checks it."""

    def copy() -> Bundle:
        return Bundle(Path(shutil.copytree(shipped_bundle, tmp_path / "bundle")))

    return copy


@pytest.fixture(scope="session")
def slim_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped policy with one layer of four, which is no good but exports fast; read-only."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("slim") / "checkpoint"
    shutil.copytree(TABLETOP / "checkpoint", folder)
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = config["vision_config"]["depth"] = 1
    config["vision_config"]["fullatt_block_indexes"] = [0]
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    dropped = tuple(f"{kind}.{n}." for kind in ("visual.blocks", "model.layers") for n in (1, 2, 3))
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(dropped)}
    save_file(kept, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def bench(golden_case: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The smaller golden case's graphs in any recipe: a :class:`golden_graphs.Workbench`."""
    from golden_graphs import Workbench

    return Workbench(golden_case, tmp_path_factory.mktemp("graphs"))
