"""Where upstream's layout keeps normalisation statistics, and what all places together say of a robot.

Wall-X of September 2025 has them among the weights; 1.1 saves ``normalizer_action.pth`` and
``normalizer_propri.pth`` beside them, and ``norm_stats.json`` where it trained on a LeRobot data set. Which
of the two files serving prefers has changed from one of its commits to the next
(``harrix/utils/normalizer.py``), so those that differ are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from wall_edge.array_types import Floats
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.normalizers.norm_stats import FILE, read_norm_stats
from wall_edge_export.checkpoint.normalizers.tables import KINDS, Robots, from_vectors
from wall_edge_export.checkpoint.normalizers.torch_pickle import read_pickle


def normalizer_files(folder: Path) -> list[Path]:
    """Those of a checkpoint's files that hold statistics and no weights."""
    names = (*(_pickle_name(kind) for kind in KINDS), FILE)
    return [folder / name for name in names if (folder / name).exists()]


def statistic_places(
    folder: Path,
    tensors: Iterable[tuple[str, str, str, Floats]],
    keys: Mapping[str, str],
    widths: Mapping[str, Collection[int]],
) -> list[Robots]:
    """What each place of a checkpoint says, weights first; empty where there is none.

    ``tensors``: kind, statistic, robot and values of those among the weights; ``keys``: of
    ``norm_stats.json`` by kind, as ``config.yml`` says; ``widths``: how many degrees of freedom it may be
    of, by kind. Raises :class:`CheckpointError`.
    """
    pickles = str(folder / _pickle_name("*"))
    places = [from_vectors(str(folder), tensors), from_vectors(pickles, _pickled(folder))]
    if (folder / FILE).exists():
        places.append(read_norm_stats(folder / FILE, keys, widths))
    return [place for place in places if place]


def _pickle_name(kind: str) -> str:
    return f"normalizer_{kind}.pth"


def _pickled(folder: Path) -> Iterator[tuple[str, str, str, Floats]]:
    for kind in KINDS:
        path = folder / _pickle_name(kind)
        for name, values in read_pickle(path).items() if path.exists() else ():
            statistic, _, robot = name.partition(".")
            if statistic not in ("min", "delta") or not robot:
                raise CheckpointError(
                    f"{shown(path)}: {shown(name, 60)}", expected="min.ROBOT and delta.ROBOT"
                )
            yield kind, statistic, robot, values
