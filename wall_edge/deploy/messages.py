"""What workstation and robot tell one another while a bundle is deployed: JSON, a line each.

Over ssh stdin and stdout of ``wall-edge activate --session``; a login's greetings may come in between, with
or without a line's end, so what the robot says begins with :data:`MARK`. An empty line to the robot says: I
am still here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, Union

from wall_edge.checks import between, counted, require_file_name, require_sha256, require_text
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import RuntimeFault
from wall_edge.files import parse_json

MARK = "wall-edge-deploy "
LINE_BYTES = 1 << 20
_FILES = 80
_MOST_BYTES = 1 << 45


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle."""

    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        between("bytes", self.bytes, 0, _MOST_BYTES)
        require_sha256("sha256", self.sha256)


@dataclass(frozen=True)
class Offer:
    """Workstation, first: the bundle that it has."""

    files: dict[str, FileEntry]
    kind: Literal["offer"] = "offer"

    def __post_init__(self) -> None:
        require_files(self.files)


@dataclass(frozen=True)
class Copied:
    """Workstation: all files are there."""

    kind: Literal["copied"] = "copied"


@dataclass(frozen=True)
class Hello:
    """Robot, first: ``version`` of wall-edge, the bundles that it reads, ``rsync``'s version or nothing."""

    version: str
    format_version: int
    rsync: str
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True)
class Awaiting:
    """Robot: ``missing`` are the files to copy into ``folder``, each with the bytes that are there.

    ``damaged``: those of an earlier copy that had another digest and were removed.
    """

    folder: str
    missing: dict[str, int]
    damaged: tuple[str, ...] = ()
    kind: Literal["awaiting"] = "awaiting"

    def __post_init__(self) -> None:
        require_text("folder", self.folder)
        if "\n" in self.folder:  # it becomes a line of a batch file, in which another could be a command
            raise Invalid("folder", self.folder, expected="a path on one line")
        require_files(self.missing)


@dataclass(frozen=True)
class Progress:
    """Robot: what it does now; while files are copied, the ``bytes`` that it has."""

    stage: str
    bytes: int | None = None
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True)
class StageSummary:
    """The stages of one kind (keys of every layer …) against their goldens: the worst of them."""

    stages: int
    measure: str
    worst: float
    tolerance: float


@dataclass(frozen=True)
class Activation:
    """What an activation did. Paths are absolute; ``previous``: where ``current`` led before, if anywhere.

    ``engine`` and ``device`` are ROBOT.yaml's words for what verified, ``description`` its own. ``built``:
    seconds of each graph's compiler. ``running``: a daemon uses the previous bundle, until it is restarted.
    """

    digest: str
    folder: str
    current: str
    previous: str | None
    engine: str
    device: str
    description: str
    recipe: str
    stages: dict[str, StageSummary]
    built: dict[str, float] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    running: bool = False
    notes: tuple[str, ...] = ()
    date: str = ""

    def __post_init__(self) -> None:
        require_sha256("digest", self.digest)
        counted("stages", self.stages, 1, 64)


@dataclass(frozen=True)
class Done:
    """Robot, last: the new bundle is current."""

    activation: Activation
    kind: Literal["done"] = "done"


@dataclass(frozen=True)
class Failed:
    """Robot, last: ``current`` is as it was."""

    error: str
    kind: Literal["failed"] = "failed"


FromRobot = Union[Hello, Awaiting, Progress, Done, Failed]  # noqa: UP007 - read at run time by the loader
FromWorkstation = Union[Offer, Copied]  # noqa: UP007


@dataclass(frozen=True)
class _RobotLine:
    message: FromRobot


@dataclass(frozen=True)
class _WorkstationLine:
    message: FromWorkstation


def encoded(message: FromRobot | FromWorkstation) -> str:
    """One line, with its end. The robot's begin with the mark."""
    mark = "" if isinstance(message, Offer | Copied) else MARK
    return f"{mark}{json.dumps(asdict(message))}\n"


def from_robot(line: str) -> FromRobot | None:
    """The message in a line of the robot; none in one of a login's. Raises :class:`RuntimeFault`."""
    _, mark, text = line.partition(MARK)
    if not mark:
        return None
    where = "what the robot said"
    data = parse_json(text, where, RuntimeFault)
    return from_mapping(_RobotLine, {"message": data}, where, RuntimeFault).message


def from_workstation(line: str) -> FromWorkstation | None:
    """The message in a line of the workstation; none in an empty one. Raises :class:`RuntimeFault`."""
    if not line.strip():
        return None
    where = "what the workstation said"
    data = parse_json(line, where, RuntimeFault)
    return from_mapping(_WorkstationLine, {"message": data}, where, RuntimeFault).message


def require_files(files: Mapping[str, object]) -> None:
    """Plain names, not too many: they become paths and lines of a batch file."""
    counted("files", files, 0, _FILES)
    for name in files:
        require_file_name(f"files.{name}", name)
