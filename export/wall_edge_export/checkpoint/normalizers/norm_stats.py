"""``norm_stats.json``: quantiles of the state and the actions of a data set.

Format (github.com/X-Square-Robot/wall-x 1.1, ``scripts/compute_norm_stats.py``, which has it from openpi's
``shared/normalize.py``): ``{"norm_stats": {KEY: {"mean", "std", "q01", "q99"}}}`` with a number a degree of
freedom. Upstream's keys are those of ``data.key_mappings`` in ``config.yml``, ``action`` and
``observation.state`` where it has none (``data/backends/lerobot/utils.py``: ``load_norm_stats``); openpi's
are ``actions`` and ``state``. Its normaliser has ``min = q01`` and ``delta = q99 - q01``, computed in
float32. No robot is named, since a file is of one data set; a mapping of such entries by robot can mean
nothing else, and is taken too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.checks import MAX_SLOTS
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.normalizers.tables import ACTION, PROPRI, MinDelta, Robots, Table
from wall_edge_export.checkpoint.weights import read_json

FILE = "norm_stats.json"
_KEYS = {ACTION: ("action", "actions"), PROPRI: ("observation.state", "state", PROPRI)}
_FIX = "write it with Wall-X's scripts/compute_norm_stats.py"


@dataclass(frozen=True)
class _Quantiles:
    q01: tuple[float, ...]
    q99: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.q01) <= MAX_SLOTS:
            raise Invalid("q01", f"{len(self.q01)} numbers", expected=f"1 to {MAX_SLOTS}")
        if len(self.q01) != len(self.q99):
            raise Invalid("q99", f"{len(self.q99)} numbers", expected=f"{len(self.q01)}, as in q01")


def read_norm_stats(
    path: Path, keys: Mapping[str, str], widths: Mapping[str, Collection[int]] | None = None
) -> Robots:
    """Statistics by robot, None where the file names none.

    ``keys``: the file's by ``action`` and ``propri``, of those that ``config.yml`` says; ``widths``: how
    many numbers each may have. A file of another data set, or of one whose rotations were three angles
    where the model has six numbers, has others. Raises :class:`CheckpointError`.
    """
    robots = _robots(path, keys)
    for table in robots.values():
        for kind, allowed in (widths or {}).items():
            if (count := len(table[kind].low)) not in allowed:
                raise CheckpointError(
                    f"{table[kind].where}: {count} numbers",
                    expected=f"{' or '.join(map(str, sorted(allowed)))}, the model's degrees of freedom",
                    fix=f"{_FIX}, or remove it where normalizer_*.pth are beside it",
                )
    return robots


def _robots(path: Path, keys: Mapping[str, str]) -> Robots:
    raw = read_json(path, "quantiles of the state and the actions").get("norm_stats")
    if not isinstance(raw, dict) or not raw:
        raise _wrong(path, "no norm_stats", "a mapping of keys to q01 and q99")
    if any(isinstance(entry, dict) and "q01" in entry for entry in raw.values()):
        return {None: _table(path, "norm_stats", raw, keys)}
    return {
        robot: _table(path, f"norm_stats.{shown(robot, 64)}", entries, keys) for robot, entries in raw.items()
    }


def _table(path: Path, place: str, raw: object, keys: Mapping[str, str]) -> Table:
    if not isinstance(raw, dict):
        raise _wrong(path, f"{place} is {shown(repr(raw), 60)}", "a mapping of keys to q01 and q99")
    return {kind: _entry(path, place, raw, kind, keys.get(kind)) for kind in _KEYS}


def _entry(path: Path, place: str, raw: Mapping[str, Any], kind: str, named: str | None) -> MinDelta:
    names = _KEYS[kind] if named is None else (named,)
    present = [name for name in names if name in raw]
    if len(present) != 1:
        what = f"{place} has {' and '.join(present) or 'none'} of {shown(', '.join(names))}"
        fix = "" if named is None else f"; data.key_mappings of config.yml says {shown(named, 64)}"
        raise _wrong(path, what, f"one of them{fix}")
    entry = f"{place}.{shown(present[0], 64)}"
    quantiles = from_mapping(
        _Quantiles, raw[present[0]], shown(path), CheckpointError, strict=False, path=entry
    )
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes no number is refused where it is used
        low, high = (np.array(values).astype(np.float32) for values in (quantiles.q01, quantiles.q99))
        delta = high - low
    return MinDelta(f"{shown(path)}: {entry}", low.astype(np.float64), delta.astype(np.float64))


def _wrong(path: Path, what: str, expected: str) -> CheckpointError:
    return CheckpointError(f"{shown(path)}: {what}", expected=expected, fix=_FIX)
