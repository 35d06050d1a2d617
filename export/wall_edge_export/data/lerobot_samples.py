"""Samples of a LeRobot dataset: parquet rows, and frames from mp4 or from the rows."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from wall_edge.array_types import Floats, Frame
from wall_edge.bundle import Embodiment
from wall_edge.checks import MAX_FRAME_PIXELS
from wall_edge.errors import ConfigError
from wall_edge.policies.observation import Observation
from wall_edge.session_format import Sample
from wall_edge_export.data.lerobot_files import INFO, numbers, seconds, whole_numbers
from wall_edge_export.data.lerobot_layout import IMAGES, Dataset, Episode, open_dataset
from wall_edge_export.data.lerobot_video import frame_at
from wall_edge_export.data.robot_checks import require_camera, require_names

STATE, ACTION = "observation.state", "action"


@dataclass(frozen=True)
class _Rows:
    """One parquet file of n rows: ``time [n]`` s from the episode's start, ``state`` and ``action``.

    Both are ``[n, degrees]``.
    ``images``: encoded pictures by camera, of those that are stored in the rows.
    """

    path: Path
    episode: Floats
    time: Floats
    task: Floats
    state: Floats
    action: Floats
    images: Mapping[str, pa.ChunkedArray]


class LeRobotSamples:
    """Every row of the dataset is a sample; its actions are those of the rows that follow.

    Values stay in the data set's own units, which are the policy's. ``sizes``: width and height by camera;
    camera NAME is the feature ``observation.images.NAME``. Raises :class:`ConfigError` naming the file that
    is missing, damaged or of another embodiment.
    """

    def __init__(
        self,
        root: Path,
        embodiment: Embodiment,
        sizes: Mapping[str, tuple[int, int]],
        horizon: int,
        action_rate_hz: float,
    ) -> None:
        self._widths = {STATE: len(embodiment.state), ACTION: len(embodiment.action)}
        self._sizes = sizes
        self._after: Floats = np.arange(horizon) / action_rate_hz
        self._dataset = open_dataset(root, tuple(sizes))
        _check_features(root / INFO, self._dataset, embodiment, sizes)
        self._ends = np.cumsum([episode.length for episode in self._dataset.episodes], dtype=np.int64)
        self._cache: _Rows | None = None

    @property
    def total(self) -> int:
        """Rows of all episodes."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def files(self) -> set[Path]:
        """Those read so far."""
        return self._dataset.folder.files

    def sample(self, index: int) -> Sample:
        """The sample of row ``index``.

        Action k is that of the row nearest to k action periods later; after the episode's end it is that of
        its last row, as LeRobot pads.
        """
        number = int(np.searchsorted(self._ends, index, side="right"))
        episode = self._dataset.episodes[number]
        rows = self._rows(episode.rows)
        indices = _episode_rows(rows, episode)
        row = indices[index - (int(self._ends[number]) - episode.length)]
        time_s = float(rows.time[row])
        following = np.abs(rows.time[indices] - (time_s + self._after)[:, None]).argmin(axis=1)
        time_ns = round(1e9 * time_s)
        frames = {name: self._frame(name, rows, row, episode) for name in self._sizes}
        observation = Observation(time_ns, frames, rows.state[row], frames_ns=time_ns)
        return Sample(observation, self._words(rows, row), rows.action[indices[following]])

    def _rows(self, path: Path) -> _Rows:
        """Samples are read in the order of time, so one file at a time is enough."""
        if self._cache is None or self._cache.path != path:
            self._cache = self._read_rows(path)
        return self._cache

    def _read_rows(self, path: Path) -> _Rows:
        image_names = [
            name for name in self._sizes if self._dataset.features[f"{IMAGES}{name}"].dtype == "image"
        ]
        columns = ["episode_index", "timestamp", "task_index", STATE, ACTION]
        table = self._dataset.folder.table(path, columns + [f"{IMAGES}{name}" for name in image_names])
        episode, task = (whole_numbers(path, table, column)[:, 0] for column in (columns[0], columns[2]))
        time = seconds(path, table, columns[1])[:, 0]
        state, action = (numbers(path, table, column, self._widths[column]) for column in columns[3:])
        images = {name: table[f"{IMAGES}{name}"] for name in image_names}
        return _Rows(path, episode, time, task, state, action, images)

    def _words(self, rows: _Rows, row: int) -> str:
        task = int(rows.task[row])
        if not (words := self._dataset.tasks.get(task)):
            raise ConfigError(
                f"{rows.path}: task_index {task}",
                expected=f"one of the {len(self._dataset.tasks)} tasks in meta/tasks, in words",
            )
        return words

    def _frame(self, name: str, rows: _Rows, row: int, episode: Episode) -> Frame:
        if name in rows.images:
            where = rows.path
            frame = _picture(where, name, rows.images[name][row].as_py())
        else:
            path, begin_s = episode.videos[name]
            where = self._dataset.folder.read(path)
            frame = frame_at(where, begin_s + float(rows.time[row]), 0.5 / self._dataset.fps)
        require_camera(where, name, (frame.shape[1], frame.shape[0]), self._sizes[name])
        return frame


def joint_names(names: object) -> tuple[str, ...]:
    """``features[…]["names"]`` without ``.pos``: a list, ``[[…]]``, ``{"motors": […]}`` or name → position.

    Empty when there are none.
    """
    if isinstance(names, dict):
        positions = all(type(value) is int for value in names.values())
        names = sorted(names, key=names.__getitem__) if positions else next(iter(names.values()))
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(name.removesuffix(".pos") for name in names)


def _check_features(
    where: Path, dataset: Dataset, embodiment: Embodiment, sizes: Mapping[str, tuple[int, int]]
) -> None:
    for key, layout in ((STATE, embodiment.state), (ACTION, embodiment.action)):
        names = joint_names(dataset.features[key].names) if key in dataset.features else ()
        names = names or (f"{key} without joint names",)
        # A LeRobot policy has no names: those of its degrees of freedom are ROBOT.yaml's, as are the joints'.
        columns = [degree.name.removesuffix(".pos") for degree in layout.degrees]
        joints = [
            degree.of if degree.part == "joint" else columns[i] for i, degree in enumerate(layout.degrees)
        ]
        require_names(where, names, joints if list(names) == joints else columns)
    for name, size in sizes.items():
        feature = dataset.features.get(f"{IMAGES}{name}")
        if feature is None or feature.dtype not in ("video", "image"):
            require_camera(where, name, None, size)


def _episode_rows(rows: _Rows, episode: Episode) -> npt.NDArray[np.intp]:
    indices = np.flatnonzero(rows.episode == episode.index)
    if len(indices) != episode.length or np.any(np.diff(rows.time[indices]) <= 0):
        raise ConfigError(
            f"{rows.path}: {len(indices)} rows of episode {episode.index}",
            expected=f"{episode.length}, with rising timestamps",
            fix="copy the dataset again",
        )
    return indices


def _picture(path: Path, camera: str, cell: object) -> Frame:
    """Of a struct ``{bytes, path}``, as Hugging Face's datasets keep an image."""
    content = cell.get("bytes") if isinstance(cell, dict) else None
    try:
        with Image.open(io.BytesIO(content or b"")) as image:
            if image.width * image.height > MAX_FRAME_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(
            f"{path}: {camera} holds no picture ({error})",
            expected="PNG or JPEG bytes in the rows",
            fix="copy the dataset again",
        ) from error
