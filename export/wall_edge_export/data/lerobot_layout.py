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

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import ConfigError
from wall_edge.files import JSON_BYTES, parse_json, read_text, shown

INFO = "meta/info.json"
IMAGES = "observation.images."
_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
_MOST_ROWS, _MOST_EPISODES, _MOST_INDEX = 10**8, 10**6, 10**9
_MOST_SECONDS = 1e7
_MOST_FPS = 1e4
_MOST_VALUES, _MOST_BYTES = 1 << 26, 4 << 30
_AGAIN = "copy the dataset again"

Floats = npt.NDArray[np.float64]
T = TypeVar("T")


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
        if not 1 <= self.chunks_size <= _MOST_INDEX:
            raise Invalid("chunks_size", self.chunks_size, expected=f"at least 1, at most {_MOST_INDEX}")


def _check_index(key: str, value: int) -> None:
    if not 0 <= value <= _MOST_INDEX:
        raise Invalid(key, value if abs(value) < 1 << 64 else "absurd", expected=f"0 to {_MOST_INDEX}")


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


class Folder:
    """The dataset's folder; ``files`` are those read so far."""

    def __init__(self, root: Path) -> None:
        self.root, self.files = root, set[Path]()

    def read(self, path: Path) -> Path:
        """Note that ``path`` is read. Raises :class:`ConfigError` when it is missing."""
        try:
            there = path.is_file()
        except (OSError, ValueError):  # a name that the system does not take
            there = False
        if not there:
            raise ConfigError(f"{shown(path)}: file is missing", fix="download or copy the whole dataset")
        self.files.add(path)
        return path

    def table(self, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
        """A parquet file: ``columns``, or all."""
        self.read(path)
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
            _check_size(path, file.metadata)
            table = file.read(columns=columns)
            table.validate(full=True)
        except (pa.ArrowException, OSError, MemoryError, ValueError) as error:  # ValueError: names in UTF-8
            raise ConfigError(
                f"{path}: damaged or not parquet ({error})", expected="a parquet file", fix=_AGAIN
            ) from error
        if missing := [name for name in columns or () if name not in table.column_names]:
            raise ConfigError(f"{path}: no column {', '.join(missing)}", expected="LeRobot's columns")
        return table

    def place(self, template: str, **fields: int | str) -> Path:
        """A path as ``info.json`` words it, with ``{name}`` or ``{name:03d}`` for a field; within the folder.

        ``str.format`` is not for templates of strangers: it reaches attributes and pads to any width.
        """
        name, wrong = _FIELD.sub(lambda found: _filled(found, fields), template), "{}\0"
        path = PurePosixPath(name)
        if any(sign in name for sign in wrong) or len(name) > 1000:
            raise ConfigError(
                f"{self.root / INFO}: path {shown(template)!r}", expected=f"fields {', '.join(fields)}"
            )
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(
                f"{self.root / INFO}: path {shown(template)!r}", expected="a path in the dataset"
            )
        return self.root / path

    def json(self, name: str) -> object:
        return parse_json(self._text(name), str(self.root / name), ConfigError, _AGAIN)

    def lines(self, name: str, kind: type[T]) -> Iterator[T]:
        """The objects of a file of JSON lines."""
        for number, line in enumerate(self._text(name).splitlines(), 1):
            where = f"{self.root / name}:{number}"
            yield from_mapping(kind, parse_json(line, where, ConfigError, _AGAIN), where, strict=False)

    def _text(self, name: str) -> str:
        return read_text(self.read(self.root / name), ConfigError, JSON_BYTES, _AGAIN)


def _check_size(path: Path, metadata: pq.FileMetaData) -> None:
    """A few bytes of a parquet file can stand for any number of equal values.

    Rows and not values are counted: pyarrow ends the process when it is asked for a column's metadata and its
    statistics are damaged (an exception of C++ that it does not catch, seen in pyarrow 26).
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    values = metadata.num_rows * metadata.num_columns
    size = sum(group.total_byte_size for group in groups)
    if values > _MOST_VALUES or size > _MOST_BYTES:
        raise ConfigError(
            f"{path}: {values} values, {size} bytes", expected=f"at most {_MOST_VALUES} and {_MOST_BYTES}"
        )


def _filled(found: re.Match[str], fields: Mapping[str, int | str]) -> str:
    """A field's value; what is no field stays, and is refused."""
    value, width = fields.get(found[1]), found[2]
    if value is None or (width is not None and not isinstance(value, int)):
        return found[0]
    return f"{value:0{int(width)}d}" if width is not None and isinstance(value, int) else str(value)


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
            f"{root / 'meta'}: {len(episodes)} episodes are listed",
            expected=f"{info.total_episodes}, as {INFO} says",
            fix=_AGAIN,
        )
    total = sum(episode.length for episode in episodes)
    if len(episodes) > _MOST_EPISODES or total > _MOST_ROWS:
        raise ConfigError(
            f"{root / 'meta'}: {len(episodes)} episodes of {total} rows",
            expected=f"at most {_MOST_EPISODES} and {_MOST_ROWS}",
        )
    if short := [episode for episode in episodes if episode.length < 1]:
        raise ConfigError(
            f"{root / 'meta'}: episode {short[0].index} has {short[0].length} rows", expected="at least 1"
        )
    return Dataset(folder, info.fps, info.features, episodes, tasks)


def numbers(path: Path, table: pa.Table, column: str, width: int = 1) -> Floats:
    """A column as ``[rows, width]``; raises :class:`ConfigError` for anything but finite numbers."""
    values = table[column]
    try:
        if hasattr(values.type, "value_field"):  # a list of any kind
            if not np.all(pc.list_value_length(values).to_numpy() == width):
                raise ValueError(f"not {width} numbers in each row")
            values = pc.list_flatten(values)
        array = values.to_numpy().astype(np.float64).reshape(table.num_rows, width)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {column} is {error}", expected=f"{width} numbers a row") from error
    if not np.all(np.isfinite(array)):
        raise ConfigError(f"{path}: {column} holds NaN or infinite values", expected="finite values")
    return np.asarray(array)


def whole_numbers(path: Path, table: pa.Table, column: str) -> Floats:
    """A column of indices or counts ``[rows, 1]``: whole, not negative and no more than there can be."""
    array = numbers(path, table, column)
    if np.any(array != np.floor(array)) or np.any(array < 0) or np.any(array > _MOST_INDEX):
        odd = array[(array != np.floor(array)) | (array < 0) | (array > _MOST_INDEX)][0]
        raise ConfigError(
            f"{path}: {column} holds {odd:g}", expected=f"whole numbers from 0 to {_MOST_INDEX}"
        )
    return array


def seconds(path: Path, table: pa.Table, column: str) -> Floats:
    """A column of times ``[rows, 1]`` in s from a start."""
    array = numbers(path, table, column)
    if np.any(np.abs(array) > _MOST_SECONDS):
        raise ConfigError(
            f"{path}: {column} reaches {np.abs(array).max():g} s", expected=f"at most {_MOST_SECONDS:g}"
        )
    return array


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
        found = [read(path, table, column) for read, column in zip(readers, columns, strict=True)]
        values = np.concatenate(found, axis=1)
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
