"""Recorded sessions: samples of the robot at work, for calibration and error measurements on a workstation.

A folder::

    session.yaml    format version, robot, state, actions, cameras, horizon, action rate, bundle
    000001.npz      one sample; uncompressed, no pickles
    000002.npz      …

An npz holds ``frames.CAMERA`` [h, w, 3] uint8, ``state``, ``words``, ``actions`` [horizon, …] (the
chunk that was published), ``time_ns`` and ``frames_ns`` (CLOCK_MONOTONIC), and ``epoch``. State and
actions are policy values: the policy's degrees of freedom by its own names, each in its own unit. A sample
appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from wall_edge.array_types import Array, Floats
from wall_edge.arrays import require_finite
from wall_edge.atomic import atomic_write
from wall_edge.bundle import MANIFEST, MAX_HORIZON, Bundle, Layout, Unit, file_digest
from wall_edge.checks import (
    MAX_CAMERAS,
    MAX_DOF,
    between,
    check_frame,
    counted,
    require_name,
    require_names,
    require_sha256,
    require_title,
)
from wall_edge.config_loader import from_mapping, read_yaml
from wall_edge.errors import ConfigError
from wall_edge.files import read_arrays, shown
from wall_edge.policies.observation import Observation

FORMAT_VERSION = 2
HEADER = "session.yaml"
_LARGEST = {"rad": 1e3, "deg": 6e4, "percent": 1e4, "m": 1e3, "own": 1e5}
"""Beyond this a value is damaged, or in another unit than it says."""
_MAX_WORDS = 4096
_SAMPLE_BYTES = 256 << 20
_COPY_AGAIN = "copy it again, or delete it: the other samples stand alone"


@dataclass(frozen=True)
class FrameSize:
    """In pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        check_frame(self.width, self.height)


@dataclass(frozen=True)
class SessionHeader:
    """``session.yaml``: what every sample of the session has in common."""

    robot: str
    state: dict[str, Unit]
    """Units of the state's degrees of freedom by name, in the order of every vector."""
    actions: dict[str, Unit]
    cameras: dict[str, FrameSize]
    horizon: int
    action_rate_hz: float
    bundle_sha256: str | None = None
    """Of the manifest of the bundle that acted; null when none did."""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        require_title("robot", self.robot)
        for key, units in (("state", self.state), ("actions", self.actions)):
            counted(key, units, 1, MAX_DOF)
            require_names(key, units)
        counted("cameras", self.cameras, 1, MAX_CAMERAS)
        for name in self.cameras:
            require_name(f"cameras.{name}", name)
        between("horizon", self.horizon, 1, MAX_HORIZON, "steps")
        between("action_rate_hz", self.action_rate_hz, 0.1, 1000, "Hz")
        require_sha256("bundle_sha256", self.bundle_sha256)

    @classmethod
    def of(cls, bundle: Bundle) -> SessionHeader:
        """What a session of this bundle's robot begins with."""
        manifest = bundle.manifest
        return cls(
            robot=manifest.embodiment.name,
            state=units_of(manifest.embodiment.state),
            actions=units_of(manifest.embodiment.action),
            cameras={name: FrameSize(g.width, g.height) for name, g in manifest.cameras.items()},
            horizon=manifest.horizon,
            action_rate_hz=manifest.action_rate_hz,
            bundle_sha256=file_digest(bundle.folder / MANIFEST),
        )


def units_of(layout: Layout) -> dict[str, Unit]:
    """Units of a layout's degrees of freedom, as a header has them."""
    return {degree.name: degree.unit for degree in layout.degrees}


@dataclass(frozen=True)
class Sample:
    """What the robot saw (its state as policy values), the words that were acted on, and the chunk.

    ``actions [horizon, degrees]`` are policy values.
    """

    observation: Observation
    words: str
    actions: Floats
    epoch: int = 0


@dataclass(frozen=True)
class _FirstHeader:
    """``session.yaml`` of format version 1: joint positions in rad, of a state like the actions."""

    format_version: int
    robot: str
    dof_names: tuple[str, ...]
    cameras: dict[str, FrameSize]
    horizon: int
    action_rate_hz: float
    bundle_sha256: str | None = None
    unit: Literal["rad"] = "rad"

    def __post_init__(self) -> None:
        counted("dof_names", self.dof_names, 1, MAX_DOF)
        require_names("dof_names", self.dof_names)

    def second(self) -> dict[str, object]:
        """The data of the same header in today's version."""
        data, units = vars(self).copy(), dict.fromkeys(self.dof_names, "rad")
        del data["dof_names"], data["unit"]
        return {**data, "format_version": FORMAT_VERSION, "state": units, "actions": units}


class SessionWriter:
    """Writes samples into a new folder; the header comes with the first, so no session is without any.

    Raises :class:`ConfigError` for a folder that holds anything or cannot be made.
    """

    def __init__(self, folder: Path, header: SessionHeader) -> None:
        require_unused(folder)
        self.folder, self._header, self.count = folder, header, 0
        with _refused_writes(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, observation: Observation, words: str, actions: Floats, *, epoch: int = 0) -> Path:
        """Write one sample; its file. Raises :class:`ConfigError` when the disk refuses it."""
        name = f"{self.count + 1:06d}.npz"
        arrays = _arrays(Sample(observation, words, actions, epoch))
        _require_format(arrays, self._header, self.folder / name)
        if self.count == 0:
            self._put(HEADER, _yaml(self._header))
        path = self._put(name, _npz(arrays))
        self.count += 1
        return path

    def _put(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        with _refused_writes(path):
            atomic_write(path, content, durable=True)  # a robot may lose its power right after the rename
        return path


@contextlib.contextmanager
def _refused_writes(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}",
            expected="a folder that can be written",
            fix="check the path, its permissions and the room on its disk",
        ) from error


def require_unused(folder: Path) -> None:
    """Raise :class:`ConfigError` unless ``folder`` is free or empty: no session is mixed with another."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        reason = (
            "holds another session" if (folder / HEADER).exists() else "exists and is not an empty folder"
        )
    except OSError as error:
        reason = error.strerror or str(error)
    raise ConfigError(f"{folder}: {reason}", expected="a new folder", fix="choose another one")


@dataclass(frozen=True)
class Session:
    """A recorded session on disk; samples are read one at a time, as they may not fit into memory."""

    folder: Path
    header: SessionHeader
    files: tuple[Path, ...]

    def sample(self, path: Path) -> Sample:
        """Read one of ``files``. Raises :class:`ConfigError` naming the file and the field."""
        arrays = read_arrays(path, ConfigError, _SAMPLE_BYTES, _COPY_AGAIN)
        _require_format(arrays, self.header, path)
        observation = Observation(
            time_ns=int(arrays["time_ns"]),
            frames={name: arrays[f"frames.{name}"] for name in self.header.cameras},
            state=arrays["state"],
            frames_ns=int(arrays["frames_ns"]),
        )
        return Sample(observation, str(arrays["words"]), arrays["actions"], int(arrays["epoch"]))


def read_session(folder: Path) -> Session:
    """Open a session: its header is checked now, its samples when they are read."""
    path = folder / HEADER
    data = read_yaml(path)
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(version, bool) or version not in (1, FORMAT_VERSION):
        raise ConfigError(
            f"{shown(path)}: format version {shown(version, 60)}",
            expected=f"1 or {FORMAT_VERSION}",
            fix="record it again with 'wall-edge run ROBOT.yaml --record DIR'",
        )
    if version == 1:
        data = from_mapping(_FirstHeader, data, shown(path)).second()
    header = from_mapping(SessionHeader, data, shown(path))
    files = sorted(path for path in folder.iterdir() if re.fullmatch(r"\d{6,}\.npz", path.name))
    return Session(folder, header, tuple(files))


def _arrays(sample: Sample) -> dict[str, Array]:
    observation = sample.observation
    return {
        **{f"frames.{name}": frame for name, frame in observation.frames.items()},
        "state": np.asarray(observation.state, dtype=np.float64),
        "words": np.array(sample.words),
        "actions": np.asarray(sample.actions, dtype=np.float64),
        "time_ns": np.array(observation.time_ns, dtype=np.int64),
        "frames_ns": np.array(observation.frames_ns, dtype=np.int64),
        "epoch": np.array(sample.epoch, dtype=np.int64),
    }


def _require_format(arrays: Mapping[str, Array], header: SessionHeader, path: Path) -> None:
    """Names, types, shapes and finiteness, of what is written as of what is read."""
    formats = _formats(header)
    if set(arrays) != set(formats):
        names = shown(", ".join(sorted(arrays)))
        raise ConfigError(f"{path}: {names}", expected=", ".join(sorted(formats)))
    for name, (kind, shape) in formats.items():
        array = arrays[name]
        actual = "str" if array.dtype.kind == "U" else str(array.dtype)
        if (actual, array.shape) != (kind, shape):
            raise ConfigError(
                f"{path}: {name} is {actual} {list(array.shape)}", expected=f"{kind} {list(shape)}"
            )
        if kind == "float64":
            require_finite(array, f"{path}: {name}", ConfigError)
            _require_sane(array, f"{path}: {name}", header.state if name == "state" else header.actions)
        if kind == "str" and len(str(array)) > _MAX_WORDS:
            what = f"{path}: {name} has {len(str(array))} characters"
            raise ConfigError(what, expected=f"at most {_MAX_WORDS}")


def _require_sane(values: Array, where: str, units: Mapping[str, Unit]) -> None:
    for column, (name, unit) in enumerate(units.items()):
        largest = np.abs(values[..., column]).max(initial=0.0)
        if largest > _LARGEST[unit]:
            raise ConfigError(
                f"{where} of {name} holds {largest:g} {unit}", expected=f"at most {_LARGEST[unit]:g} {unit}"
            )


def _formats(header: SessionHeader) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every array of a sample."""
    formats: dict[str, tuple[str, tuple[int, ...]]] = {
        f"frames.{name}": ("uint8", (size.height, size.width, 3)) for name, size in header.cameras.items()
    }
    formats |= {
        "state": ("float64", (len(header.state),)),
        "actions": ("float64", (header.horizon, len(header.actions))),
        "words": ("str", ()),
    }
    return formats | dict.fromkeys(("time_ns", "frames_ns", "epoch"), ("int64", ()))


def _yaml(header: SessionHeader) -> bytes:
    plain = {"format_version": FORMAT_VERSION, **asdict(header)}
    return yaml.safe_dump(plain, sort_keys=False).encode()


def _npz(arrays: Mapping[str, Array]) -> bytes:
    """As ``np.savez`` writes it, but with the same bytes whatever the clock says."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return content.getvalue()
