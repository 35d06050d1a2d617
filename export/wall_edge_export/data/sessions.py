"""Calibration data: moments of the robot at work, drawn from a recorded session or a LeRobot dataset.

Everything is checked against the embodiment before anything is calibrated on it: another robot's data, or
data in other units, would make a model that looks right and moves wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from wall_edge.bundle import RADIANS, Embodiment, file_digest
from wall_edge.bundle.image_geometry import ImageGeometry
from wall_edge.errors import ConfigError
from wall_edge.session_format import HEADER, Session, read_session
from wall_edge_export.data.samples import Sample, SampleSet

MIN_SAMPLES = 8
_LEROBOT = Path("meta") / "info.json"
_FAR, _FEW = 3.0, 0.05
"""A normalised value beyond the first is far out of range; more than this part of them is no accident."""


_ABSURD, _TWO_TURNS = 10.0, 4 * np.pi
"""So many times half of its range, and at least two turns [rad], off its middle no joint can be."""


class SampleSource(Protocol):
    """Data to draw from: ``total`` moments in the order of time, read one at a time."""

    @property
    def total(self) -> int: ...

    @property
    def files(self) -> Iterable[Path]:
        """Those read so far."""

    def sample(self, index: int) -> Sample: ...


def load_samples(
    source: Path,
    *,
    embodiment: Embodiment,
    cameras: Mapping[str, ImageGeometry],
    horizon: int,
    action_rate_hz: float,
    count: int,
    seed: int = 0,
) -> SampleSet:
    """Draw ``count`` moments spread evenly over the data, or all when there are fewer.

    ``source`` is a folder that ``wall-edge run --record`` wrote, or a LeRobot dataset (v2.1 or v3.0). The
    same data and seed give the same samples and digest. Raises :class:`ConfigError`, naming the file, for
    damaged data, fewer than ``MIN_SAMPLES`` moments, another embodiment's data or other units.
    """
    if count < MIN_SAMPLES:
        raise ConfigError(f"{count} calibration samples", expected=f"at least {MIN_SAMPLES}")
    moments = _open(source, embodiment, cameras, horizon, action_rate_hz)
    if moments.total < MIN_SAMPLES:
        raise ConfigError(
            f"{source}: {moments.total} moments", expected=f"at least {MIN_SAMPLES}", fix="record longer"
        )
    samples = tuple(moments.sample(index) for index in spread(moments.total, count, seed))
    _check_units(source, samples, embodiment)
    _refuse_absurd(source, samples, embodiment)
    return SampleSet(source.resolve().name, _digest(source, moments.files), samples)


def spread(total: int, count: int, seed: int) -> list[int]:
    """``count`` different numbers below ``total``, rising: a random one of each of equal stretches."""
    count = min(count, total)
    edges = np.arange(count + 1) * total // count
    return [int(index) for index in np.random.default_rng(seed).integers(edges[:-1], edges[1:])]


def _open(
    source: Path,
    embodiment: Embodiment,
    cameras: Mapping[str, ImageGeometry],
    horizon: int,
    action_rate_hz: float,
) -> SampleSource:
    sizes = {name: (geometry.width, geometry.height) for name, geometry in cameras.items()}
    if (source / HEADER).is_file():
        session = read_session(source)
        _check_session(session, embodiment, sizes, horizon, action_rate_hz)
        return _SessionMoments(session, tuple(cameras))
    if not (source / _LEROBOT).is_file():
        raise ConfigError(
            f"{source}: no {HEADER} and no {_LEROBOT}",
            expected="a recorded session or a LeRobot dataset",
            fix="record one with 'wall-edge run ROBOT.yaml --record DIR'",
        )
    try:
        from wall_edge_export.data.lerobot_dataset import LeRobotMoments
    except ImportError as error:
        raise ConfigError(
            f"LeRobot datasets need {error.name}",
            expected="the packages that read them",
            fix="pip install 'wall-edge[datasets]'",
        ) from error
    factor = RADIANS[embodiment.data_unit]
    return LeRobotMoments(source, embodiment.dof_names, sizes, horizon, action_rate_hz, to_rad=factor)


class _SessionMoments:
    """A session that fits the embodiment; frames of the bundle's cameras, in its order."""

    def __init__(self, session: Session, cameras: tuple[str, ...]) -> None:
        self._session, self._cameras = session, cameras
        self.total = len(session.files)
        self.files = {session.folder / HEADER}

    def sample(self, index: int) -> Sample:
        path = self._session.files[index]
        moment = self._session.moment(path)
        self.files.add(path)
        frames = {name: moment.observation.frames[name] for name in self._cameras}
        return Sample(replace(moment.observation, frames=frames), moment.words, moment.actions)


def _check_session(
    session: Session,
    embodiment: Embodiment,
    sizes: Mapping[str, tuple[int, int]],
    horizon: int,
    action_rate_hz: float,
) -> None:
    header, where = session.header, session.folder / HEADER
    require_names(where, header.dof_names, embodiment.dof_names)
    found = {name: (size.width, size.height) for name, size in header.cameras.items()}
    for name, size in sizes.items():
        require_camera(where, name, found.get(name), size)
    if header.horizon != horizon or not np.isclose(header.action_rate_hz, action_rate_hz):
        raise ConfigError(
            f"{where}: chunks of {header.horizon} steps at {header.action_rate_hz:g} Hz",
            expected=f"{horizon} steps at {action_rate_hz:g} Hz",
            fix="record with a bundle of this checkpoint",
        )


def require_names(where: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise :class:`ConfigError` unless both list the same degrees of freedom in the same order."""
    if tuple(found) != tuple(wanted):
        raise ConfigError(
            f"{where}: calibration data of another embodiment: {', '.join(found)}",
            expected=f"{', '.join(wanted)}, in this order",
            fix="take data of the robot that the checkpoint was trained for",
        )


def require_camera(where: Path, name: str, found: tuple[int, int] | None, wanted: tuple[int, int]) -> None:
    """Raise :class:`ConfigError` unless the camera is there (not None) with this width and height."""
    if found != wanted:
        what = f"frames of {name} are {found[0]}x{found[1]}" if found is not None else f"no camera {name}"
        raise ConfigError(
            f"{where}: calibration data of another embodiment: {what}",
            expected=f"{name} of {wanted[0]}x{wanted[1]} pixels",
            fix="take data of the robot's own cameras, under their names in ROBOT.yaml",
        )


def _check_units(source: Path, samples: Sequence[Sample], embodiment: Embodiment) -> None:
    """Units cannot be seen in a file of numbers, but degrees are far outside of a range in rad."""
    states = np.stack([sample.observation.state for sample in samples])
    actions = np.stack([sample.actions for sample in samples])
    if embodiment.action_reference == "state":
        actions = actions - states[:, None]
    normalised = np.concatenate(
        [
            replace(embodiment.state, clip=None).normalize(states),
            replace(embodiment.action, clip=None).normalize(actions).reshape(-1, states.shape[1]),
        ]
    )
    far: npt.NDArray[np.float64] = (np.abs(normalised) > _FAR).mean(axis=0)
    if far.mean() > _FEW:
        worst = embodiment.dof_names[int(far.argmax())]
        raise ConfigError(
            f"{source}: the units look wrong: {far.mean():.0%} of states and actions are more than "
            f"{_FAR:g} times outside of the checkpoint's range ({worst} most often, {far.max():.0%})",
            expected=f"joint positions in {embodiment.data_unit}",
            fix="convert degrees or per cent of the range to rad",
        )


def _refuse_absurd(source: Path, samples: Sequence[Sample], embodiment: Embodiment) -> None:
    """A single value that no joint can have: shares and means over all of them would not show it.

    Where the robot's limits are known they count, else what the policy was trained on.
    """
    relative = embodiment.action_reference == "state"
    for what, given in (
        ("state", embodiment.state),
        ("action", embodiment.state if relative else embodiment.action),
    ):
        middle, half = np.array(given.offset), np.array(given.scale)
        if embodiment.lower is not None and embodiment.upper is not None:
            lower, upper = np.array(embodiment.lower), np.array(embodiment.upper)
            middle, half = (lower + upper) / 2, (upper - lower) / 2
        room = np.maximum(_ABSURD * half, _TWO_TURNS)
        for number, sample in enumerate(samples):
            values = sample.observation.state[None] if what == "state" else sample.actions
            over = np.argwhere(np.abs(values - middle) > room)
            if len(over):
                step, joint = over[0]
                raise ConfigError(
                    f"{source}: {what} of {embodiment.dof_names[joint]} is {values[step, joint]:g} rad in "
                    f"sample {number}",
                    expected=f"within {room[joint]:.3g} rad of {middle[joint]:.3g}",
                    fix="leave out the moments whose encoder was misread",
                )


def _digest(source: Path, files: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of the files, in the order of their names."""
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(source).as_posix(), path) for path in files):
        digest.update(f"{file_digest(path)}  {name}\n".encode())
    return digest.hexdigest()
