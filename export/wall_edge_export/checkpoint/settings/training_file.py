"""Upstream's training ``config.yml`` beside the weights, flat or in sections, and what it says of inference.

Facts (github.com/X-Square-Robot/wall-x 1.1): the older, flat form has its keys at the top and under
``data``; the typed one (``workspace/example/*.yml``) has eight sections, of which ``task`` holds what is
trained (``dof_config``, ``agent_pos_config``, horizons), ``model`` and ``data`` the rest. Serving takes a
key from wherever it stands (``harrix/utils/train_config.py``: ``task`` before the top before ``data``).
Here places that differ are refused, as nothing says which of them the weights were trained with. The file
may be named ``config.yaml``, too (``_wallx_infer/infer_config.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wall_edge.config_loader import read_yaml
from wall_edge.errors import CheckpointError
from wall_edge.files import shown

FILES = ("config.yml", "config.yaml")
SECTIONS = ("task", "model", "data")


@dataclass(frozen=True)
class TrainingFile:
    """The file's plain data; ``path`` None where there is no file."""

    path: Path | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return FILES[0] if self.path is None else str(self.path)

    def said(self, key: str) -> Any:
        """The value of ``key`` at the top or in a section; None where nothing says it.

        Raises :class:`CheckpointError` naming two places that differ.
        """
        places = [(path, value) for path, value in self.places(key) if value is not None]
        for path, value in places[1:]:
            if value != places[0][1]:
                raise CheckpointError(
                    f"{self.where}: {places[0][0]} is {shown(places[0][1], 60)}, {path} {shown(value, 60)}",
                    expected="one value",
                    fix="set both to what the policy was trained with",
                )
        return places[0][1] if places else None

    def places(self, key: str) -> Iterator[tuple[str, Any]]:
        """Dotted path and value wherever the key stands."""
        if key in self.raw:
            yield key, self.raw[key]
        for name in SECTIONS:
            section = self.raw.get(name)
            if isinstance(section, Mapping) and key in section:
                yield f"{name}.{key}", section[key]


def training_file(folder: Path) -> TrainingFile:
    """What is in ``folder``. Raises :class:`CheckpointError` for what is no mapping, and for two files."""
    paths = [folder / name for name in FILES if (folder / name).exists()]
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        raise CheckpointError(
            f"{shown(folder)}: {names}", expected="one of them", fix="remove the one that is not the policy's"
        )
    if not paths:
        return TrainingFile()
    raw = read_yaml(paths[0], CheckpointError)
    if raw is not None and not isinstance(raw, Mapping):
        raise CheckpointError(f"{shown(paths[0])}: holds a {type(raw).__name__}", expected="a mapping")
    return TrainingFile(paths[0], raw or {})
