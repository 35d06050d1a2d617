"""What several suites share: checkpoints, bundles and a robot, made once a session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.cores import (  # noqa: F401 - pytest finds hooks and fixtures here
    on_a_quiet_machine,
    once,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_xdist_make_scheduler,
    threads_as_shipped,
)
from tests.robot_side import BUNDLES, pytest_ignore_collect  # noqa: F401
from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig, load_robot

# A busy machine fails no test, and neither does chance: every run has the same examples. Others are looked
# for by ``pytest --hypothesis-profile search``; what it finds gets a test of its own.
settings.register_profile(
    "search", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("wall-edge", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("wall-edge")

ROOT = Path(__file__).parents[1]
CASES = Path(__file__).parent / "golden" / "cases"
TABLETOP = ROOT / "examples" / "tabletop"
collect_ignore = ["boards"]
"""File trees of machines: their /sys has links that lead in circles, in which pytest would look for tests."""


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
    from examples.tabletop.record_session import record

    return record(tmp_path_factory.mktemp("session") / "session", 40, seed=11)


@pytest.fixture(scope="session")
def traced_once() -> Callable[[], AbstractContextManager[None]]:
    """A context in which a graph that was traced before is not traced again.

    Tracing is most of a small export's time.
    """
    from wall_edge_export.onnx import graph_writer

    stages, trace, kept = graph_writer.stages, graph_writer.trace, {}

    def keyed(model: Any, given: Any, activations: Any) -> Any:
        made = stages(model, given, activations)
        for stage in made.values():
            fixed = (given.grids, given.cameras, given.image_token_id, given.state_token_id)
            stage.module.traced_as = repr((stage.spec, model.shape, fixed, activations))
        return made

    def traced(stage: Any) -> Any:
        key = stage.module.traced_as
        if key not in kept:
            kept[key] = trace(stage)
        return kept[key]

    @contextmanager
    def context() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graph_writer, "stages", keyed)
            patch.setattr(graph_writer, "trace", traced)
            yield

    return context


@pytest.fixture(scope="session")
def export_once_traced(
    robot: RobotConfig, traced_once: Callable[[], AbstractContextManager[None]]
) -> Callable[..., Any]:
    """``export_bundle`` for the tabletop robot that traces a model's graphs once, not once an export."""
    from wall_edge_export.bundle.pipeline import export_bundle

    def export(checkpoint: Any, out: Path, *arguments: Any, **options: Any) -> Any:
        with traced_once():
            return export_bundle(checkpoint, out, robot, *arguments, **options)

    return export


@pytest.fixture(scope="session")
def export_tabletop(
    tmp_path_factory: pytest.TempPathFactory, export_once_traced: Callable[..., Any]
) -> Callable[..., Path]:
    """Exports the shipped policy; ``options`` are those of :class:`ExportOptions`."""
    from wall_edge_export.bundle.options import ExportOptions
    from wall_edge_export.checkpoint.checkpoint import Checkpoint

    def export(**options: Any) -> Path:
        out = tmp_path_factory.mktemp("bundle") / "tabletop"
        export_once_traced(Checkpoint(TABLETOP / "checkpoint"), out, ExportOptions(**options))
        return out

    return export


@pytest.fixture(scope="session")
def shipped_bundle(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The shipped policy in float32; read-only. Use ``copy_bundle`` to damage one."""
    if BUNDLES is not None:
        return Path(BUNDLES) / "tabletop"
    export: Callable[..., Path] = request.getfixturevalue("export_tabletop")
    return once(tmp_path_factory, "tabletop", lambda folder: export().rename(folder))


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
def bench(
    golden_case: Path,
    tmp_path_factory: pytest.TempPathFactory,
    traced_once: Callable[[], AbstractContextManager[None]],
) -> Any:
    """The smaller golden case's graphs in any recipe: a :class:`golden_graphs.Workbench`."""
    from tests.golden_graphs import Workbench

    made = Workbench(golden_case, tmp_path_factory.mktemp("graphs"))
    with traced_once():
        made.written("fp16")  # which traces every graph
    return made
