"""Files of a LeRobot dataset, read within bounds: JSON, JSON lines and parquet tables; columns as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wall_edge.array_types import Floats
from wall_edge.arrays import require_finite
from wall_edge.config_loader import from_mapping
from wall_edge.errors import ConfigError
from wall_edge.files import JSON_BYTES, parse_json, read_text, shown

INFO = "meta/info.json"
COPY_AGAIN = "copy the dataset again"
MOST_INDEX = 10**9
_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
_MOST_SECONDS = 1e7
_MOST_VALUES, _MOST_BYTES = 1 << 26, 4 << 30

T = TypeVar("T")


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
                f"{path}: damaged or not parquet ({error})", expected="a parquet file", fix=COPY_AGAIN
            ) from error
        if missing := [name for name in columns or () if name not in table.column_names]:
            raise ConfigError(f"{path}: no column {', '.join(missing)}", expected="LeRobot's columns")
        return table

    def place(self, template: str, **fields: int | str) -> Path:
        """A path as ``info.json`` words it, with ``{name}`` or ``{name:03d}`` for a field; within the folder.

        ``str.format`` is not for templates of strangers: it reaches attributes and pads to any width.
        """
        name, wrong = _FIELD.sub(lambda match: _fill(match, fields), template), "{}\0"
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
        return parse_json(self._text(name), str(self.root / name), ConfigError, COPY_AGAIN)

    def lines(self, name: str, kind: type[T]) -> Iterator[T]:
        """The objects of a file of JSON lines."""
        for number, line in enumerate(self._text(name).splitlines(), 1):
            where = f"{self.root / name}:{number}"
            yield from_mapping(kind, parse_json(line, where, ConfigError, COPY_AGAIN), where, strict=False)

    def _text(self, name: str) -> str:
        return read_text(self.read(self.root / name), ConfigError, JSON_BYTES, COPY_AGAIN)


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


def _fill(match: re.Match[str], fields: Mapping[str, int | str]) -> str:
    """A field's value; what is no field stays, and is refused."""
    value, width = fields.get(match[1]), match[2]
    if value is None or (width is not None and not isinstance(value, int)):
        return match[0]
    return f"{value:0{int(width)}d}" if width is not None and isinstance(value, int) else str(value)


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
    require_finite(array, f"{path}: {column}", ConfigError)
    return np.asarray(array)


def whole_numbers(path: Path, table: pa.Table, column: str) -> Floats:
    """A column of indices or counts ``[rows, 1]``: whole, not negative and no more than there can be."""
    array = numbers(path, table, column)
    if np.any(array != np.floor(array)) or np.any(array < 0) or np.any(array > MOST_INDEX):
        odd = array[(array != np.floor(array)) | (array < 0) | (array > MOST_INDEX)][0]
        raise ConfigError(f"{path}: {column} holds {odd:g}", expected=f"whole numbers from 0 to {MOST_INDEX}")
    return array


def seconds(path: Path, table: pa.Table, column: str) -> Floats:
    """A column of times ``[rows, 1]`` in s from a start."""
    array = numbers(path, table, column)
    if np.any(np.abs(array) > _MOST_SECONDS):
        raise ConfigError(
            f"{path}: {column} reaches {np.abs(array).max():g} s", expected=f"at most {_MOST_SECONDS:g}"
        )
    return array
