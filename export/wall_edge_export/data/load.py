"""Calibration data: samples of the robot at work, drawn from a recorded session or a LeRobot dataset.

Everything is checked against the embodiment before anything is calibrated on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from wall_edge.bundle import Embodiment, ImageGeometry, file_digest
from wall_edge.errors import ConfigError, plural
from wall_edge.files import require_folder
from wall_edge.session_format import HEADER
from wall_edge_export.data.robot_checks import refuse_absurd, require_units
from wall_edge_export.data.samples import MIN_SAMPLES, SampleSet, SampleSource
from wall_edge_export.data.session_samples import SessionSamples

_LEROBOT = Path("meta") / "info.json"
_DATA = "a recorded session or a LeRobot dataset"
_RECORD = "record one with 'wall-edge run ROBOT.yaml --record DIR'"


def load_samples(
    folder: Path,
    *,
    embodiment: Embodiment,
    cameras: Mapping[str, ImageGeometry],
    horizon: int,
    action_rate_hz: float,
    count: int,
    seed: int = 0,
) -> SampleSet:
    """Draw ``count`` samples spread evenly over the data, or all when there are fewer.

    ``folder`` is one that ``wall-edge run --record`` wrote, or a LeRobot dataset (v2.1 or v3.0). The same
    data and seed give the same samples and digest. Raises :class:`ConfigError`, naming the file, for damaged
    data, fewer than ``MIN_SAMPLES`` samples, another embodiment's data or other units.
    """
    if count < MIN_SAMPLES:
        raise ConfigError(plural(count, "calibration sample"), expected=f"at least {MIN_SAMPLES}")
    source = _open(folder, embodiment, cameras, horizon, action_rate_hz)
    if source.total < MIN_SAMPLES:
        raise ConfigError(
            f"{folder}: {plural(source.total, 'sample')}",
            expected=f"at least {MIN_SAMPLES}",
            fix="record longer",
        )
    samples = tuple(source.sample(index) for index in spread(source.total, count, seed))
    require_units(folder, samples, embodiment)
    refuse_absurd(folder, samples, embodiment)
    return SampleSet(folder.resolve().name, _digest(folder, source.files), samples)


def spread(total: int, count: int, seed: int) -> list[int]:
    """``count`` different numbers below ``total``, rising: a random one of each of equal stretches."""
    count = min(count, total)
    edges = np.arange(count + 1) * total // count
    return [int(index) for index in np.random.default_rng(seed).integers(edges[:-1], edges[1:])]


def _open(
    folder: Path,
    embodiment: Embodiment,
    cameras: Mapping[str, ImageGeometry],
    horizon: int,
    action_rate_hz: float,
) -> SampleSource:
    require_folder(folder, ConfigError, _DATA, _RECORD)
    sizes = {name: (geometry.width, geometry.height) for name, geometry in cameras.items()}
    if (folder / HEADER).is_file():
        return SessionSamples(folder, embodiment, sizes, horizon, action_rate_hz)
    if not (folder / _LEROBOT).is_file():
        raise ConfigError(
            f"{folder}: no {HEADER} and no {_LEROBOT}",
            expected=_DATA,
            fix=_RECORD,
        )
    try:
        from wall_edge_export.data.lerobot_samples import LeRobotSamples
    except ImportError as error:
        raise ConfigError(
            f"LeRobot datasets need {error.name}",
            expected="the packages that read them",
            fix="pip install 'wall-edge[datasets]'",
        ) from error
    return LeRobotSamples(folder, embodiment, sizes, horizon, action_rate_hz)


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of the files, in the order of their names."""
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in files):
        digest.update(f"{file_digest(path)}  {name}\n".encode())
    return digest.hexdigest()
