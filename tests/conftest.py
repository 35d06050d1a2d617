"""What several suites share: checkpoints, bundles and a robot, made once a session."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

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
def shipped_bundle(tmp_path_factory: pytest.TempPathFactory, robot: RobotConfig) -> Path:
    """The shipped policy, exported once; read-only. Use ``copy_bundle`` to damage one."""
    from wall_edge_export.pipeline import export_bundle

    out = tmp_path_factory.mktemp("bundle") / "tabletop"
    export_bundle(TABLETOP / "checkpoint", out, robot)
    return out


@pytest.fixture
def copy_bundle(shipped_bundle: Path, tmp_path: Path) -> Callable[[], Bundle]:
    """Makes a private copy of the shipped bundle; opening it checks it."""

    def copy() -> Bundle:
        return Bundle(Path(shutil.copytree(shipped_bundle, tmp_path / "bundle")))

    return copy
