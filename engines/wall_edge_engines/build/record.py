"""What is written beside engines: for which bundle, compiler and GPU they were built, and how that went."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from wall_edge.atomic import atomic_write
from wall_edge.bundle import Bundle
from wall_edge.checks import between, require_file_name, require_sha256, require_text
from wall_edge.config_loader import from_mapping, read_yaml
from wall_edge.errors import EngineError
from wall_edge_engines.build.profiles import Profile

RECORD = "engines.yaml"


@dataclass(frozen=True)
class Key:
    """Engines run where all of this is the same; ``gpu`` is none for those built ahead of time."""

    bundle: str
    compiler: str
    version: str
    gpu: str | None
    sm: int

    def __post_init__(self) -> None:
        require_sha256("bundle", self.bundle)
        for name in ("compiler", "version", "gpu"):
            require_text(name, getattr(self, name), 128)
        between("sm", self.sm, 10, 1000)


@dataclass(frozen=True)
class BuildSettings:
    """How every graph is built; engines of other settings are others."""

    profiles: dict[str, tuple[Profile, ...]]
    aux_streams: int = 0
    """Streams of their own that an engine may use: none, as each costs signals and waits."""


@dataclass(frozen=True)
class GraphRecord:
    """One plan file. ``peak_bytes``: the most host memory that its compiler had resident."""

    file: str
    sha256: str
    bytes: int
    seconds: float
    peak_bytes: int

    def __post_init__(self) -> None:
        require_file_name("file", self.file, ".plan")
        require_sha256("sha256", self.sha256)


@dataclass(frozen=True)
class BuildRecord:
    """``engines.yaml``: the engines of one folder, those that are built already."""

    key: Key
    settings: BuildSettings
    target: str
    device_memory_bytes: int | None
    """Of the GPU that they were built on; none for engines built ahead of time."""
    built: dict[str, str] = field(default_factory=dict)
    """Machine, versions and date."""
    graphs: dict[str, GraphRecord] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        plain = json.loads(json.dumps(asdict(self)))
        atomic_write(folder / RECORD, yaml.safe_dump(plain, sort_keys=False, width=110), durable=True)

    @classmethod
    def read(cls, folder: Path) -> BuildRecord:
        """Raises :class:`EngineError` for a record that is missing, damaged or of another version."""
        path = folder / RECORD
        return from_mapping(cls, read_yaml(path, EngineError), str(path), EngineError)


def engines_folder(bundle: Bundle) -> Path:
    """Beside the bundle, as a bundle holds nothing but what was exported."""
    folder = bundle.folder.resolve()
    return folder.with_name(f"{folder.name}.engines")


def folder_name(key: Key, settings: BuildSettings) -> str:
    """A folder for each key and settings: words for a person, a digest for the rest."""
    text = json.dumps([asdict(key), asdict(settings)], sort_keys=True)
    return f"{_words(key)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def timings_name(key: Key) -> str:
    """The compiler's timing cache: of its version and the GPU, whatever the bundle."""
    return f"{_words(key)}.timings"


def _words(key: Key) -> str:
    words = [key.compiler, key.version, *([key.gpu] if key.gpu is not None else []), f"sm{key.sm}"]
    return re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(words))[:80]
