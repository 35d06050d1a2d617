"""Where a LeRobot dataset keeps what, v2.1 or v3.0.

The formats are those of lerobot 0.4.4 (``datasets/utils.py``, ``datasets/lerobot_dataset.py`` and, for both
layouts side by side, ``datasets/v30/convert_dataset_v21_to_v30.py``):

========  ================================  ==========================================================
..        v2.1                              v3.0
========  ================================  ==========================================================
episodes  ``meta/episodes.jsonl``           ``meta/episodes/*/*.parquet``
tasks     ``meta/tasks.jsonl``              ``meta/tasks.parquet``, the words in pandas' index
rows      one file an episode               several episodes a file
videos    one file an episode and camera    several episodes a file, each from its ``from_timestamp`` on
========  ================================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import ConfigError, plural
from wall_edge_export.data.lerobot_files import COPY_AGAIN, INFO, MOST_INDEX, Folder, seconds, whole_numbers

IMAGES = "observation.images."
_MOST_ROWS, _MOST_EPISODES = 10**8, 10**6
_MOST_FPS = 1e4


@dataclass(frozen=True)
class Feature:
    """One entry of ``features`` in ``meta/info.json``."""

    dtype: str
    names: Any = None


@dataclass(frozen=True)
class _Info:
    codebase_version: str
    fps: float
    features: dict[str, Feature]
    data_path: str
    video_path: str | None = None
    chunks_size: int = 1000
    total_episodes: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fps <= _MOST_FPS:
            raise Invalid("fps", self.fps, expected=f"more than 0 frames a second, at most {_MOST_FPS:g}")
        if not 1 <= self.chunks_size <= MOST_INDEX:
            raise Invalid("chunks_size", self.chunks_size, expected=f"at least 1, at most {MOST_INDEX}")


def _check_index(key: str, value: int) -> None:
    if not 0 <= value <= MOST_INDEX:
        raise Invalid(key, value if abs(value) < 1 << 64 else "absurd", expected=f"0 to {MOST_INDEX}")


@dataclass(frozen=True)
class _EpisodeLine:
    episode_index: int
    length: int

    def __post_init__(self) -> None:
        _check_index("episode_index", self.episode_index)
        _check_index("length", self.length)


@dataclass(frozen=True)
class _TaskLine:
    task_index: int
    task: str

    def __post_init__(self) -> None:
        _check_index("task_index", self.task_index)


@dataclass(frozen=True)
class Episode:
    """``length`` rows in the file ``rows``; ``videos``: file and time [s] of the first frame, by camera."""

    index: int
    length: int
    rows: Path
    videos: Mapping[str, tuple[Path, float]]


@dataclass(frozen=True)
class Dataset:
    """What the files under ``meta`` say. ``tasks``: words by task index."""

    folder: Folder
    fps: float
    features: Mapping[str, Feature]
    episodes: tuple[Episode, ...]
    tasks: Mapping[int, str]


def open_dataset(root: Path, cameras: Sequence[str]) -> Dataset:
    """Read what is under ``meta``; the videos of ``cameras`` are placed where the features have them.

    Raises :class:`ConfigError` naming the file.
    """
    folder = Folder(root)
    info = _info(folder)
    filmed = [name for name in cameras if _is_video(info.features.get(f"{IMAGES}{name}"))]
    if info.codebase_version == "v2.1":
        episodes, tasks = tuple(_episodes_v21(folder, info, filmed)), _tasks_v21(folder)
    else:
        episodes, tasks = tuple(_episodes_v30(folder, info, filmed)), _tasks_v30(folder)
    if info.total_episodes not in (None, len(episodes)):
        raise ConfigError(
            f"{root / 'meta'}: {plural(len(episodes), 'episode')} listed",
            expected=f"{info.total_episodes}, as {INFO} says",
            fix=COPY_AGAIN,
        )
    total = sum(episode.length for episode in episodes)
    if len(episodes) > _MOST_EPISODES or total > _MOST_ROWS:
        raise ConfigError(
            f"{root / 'meta'}: {plural(len(episodes), 'episode')} of {plural(total, 'row')}",
            expected=f"at most {_MOST_EPISODES} and {_MOST_ROWS}",
        )
    if short := [episode for episode in episodes if episode.length < 1]:
        raise ConfigError(
            f"{root / 'meta'}: episode {short[0].index} has {short[0].length} rows", expected="at least 1"
        )
    return Dataset(folder, info.fps, info.features, episodes, tasks)


def _is_video(feature: Feature | None) -> bool:
    return feature is not None and feature.dtype == "video"


def _info(folder: Folder) -> _Info:
    where, data = str(folder.root / INFO), folder.json(INFO)
    version = data.get("codebase_version") if isinstance(data, dict) else None
    if version not in ("v2.1", "v3.0"):
        raise ConfigError(
            f"{where}: format version {version}",
            expected="v2.1 or v3.0",
            fix="convert the dataset with LeRobot's own scripts",
        )
    return from_mapping(_Info, data, where, strict=False)


def _episodes_v21(folder: Folder, info: _Info, cameras: Sequence[str]) -> Iterator[Episode]:
    for line in folder.lines("meta/episodes.jsonl", _EpisodeLine):
        index = line.episode_index
        at = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        videos = {
            name: (folder.place(info.video_path or "", video_key=f"{IMAGES}{name}", **at), 0.0)
            for name in cameras
        }
        yield Episode(index, line.length, folder.place(info.data_path, **at), videos)


def _tasks_v21(folder: Folder) -> dict[int, str]:
    return {line.task_index: line.task for line in folder.lines("meta/tasks.jsonl", _TaskLine)}


def _episodes_v30(folder: Folder, info: _Info, cameras: Sequence[str]) -> Iterator[Episode]:
    columns = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for name in cameras:
        columns += [f"videos/{IMAGES}{name}/{key}" for key in ("chunk_index", "file_index", "from_timestamp")]
    listed = folder.root / "meta" / "episodes"
    for path in sorted(listed.glob("*/*.parquet")) or [listed / "chunk-000" / "file-000.parquet"]:
        table = folder.table(path, columns)
        readers = [seconds if column.endswith("timestamp") else whole_numbers for column in columns]
        parts = [read(path, table, column) for read, column in zip(readers, columns, strict=True)]
        values = np.concatenate(parts, axis=1)
        for index, length, chunk, file, *filmed in values.tolist():
            videos = {}
            for name, place in zip(cameras, zip(*[iter(filmed)] * 3, strict=True), strict=True):
                at = {"chunk_index": int(place[0]), "file_index": int(place[1])}
                video = folder.place(info.video_path or "", video_key=f"{IMAGES}{name}", **at)
                videos[name] = video, place[2]
            rows = folder.place(info.data_path, chunk_index=int(chunk), file_index=int(file))
            yield Episode(int(index), int(length), rows, videos)


def _tasks_v30(folder: Folder) -> dict[int, str]:
    path = folder.root / "meta" / "tasks.parquet"
    table = folder.table(path)
    words = next((name for name in ("task", "__index_level_0__") if name in table.column_names), None)
    if words is None or "task_index" not in table.column_names:
        raise ConfigError(
            f"{path}: columns {', '.join(table.column_names)}", expected="task_index, and words as the index"
        )
    indices = whole_numbers(path, table, "task_index")[:, 0]
    return {int(index): str(text) for index, text in zip(indices, table[words].to_pylist(), strict=True)}
