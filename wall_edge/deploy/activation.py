"""``wall-edge activate``: a bundle becomes the robot's, once it has verified here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from errno import EDQUOT, ENOSPC
from itertools import groupby
from pathlib import Path

import wall_edge_engines

from wall_edge.atomic import atomic_write
from wall_edge.bundle import Bundle
from wall_edge.deploy.engine import RobotEngine, Told
from wall_edge.deploy.messages import Activation, StageSummary
from wall_edge.deploy.place import Place, real, record_path
from wall_edge.errors import BundleError, ConfigError
from wall_edge.files import shown
from wall_edge.provenance import provenance
from wall_edge.verification.comparison import StageCheck
from wall_edge.verification.verify import verify

STAGES = ("digests", "engine", "verify", "switch")


def activate(opened: Bundle, place: Place, engine: RobotEngine, keep: int, told: Told) -> Activation:
    """Build, verify, and only then switch ``current``; whoever calls has :meth:`Place.alone`.

    ``keep``: how many bundles stay in ``bundles``, the new one among them. Raises :class:`WallEdgeError`
    and OSError; then ``current`` is as it was.
    """
    opened = place.settle(opened)
    told("engine")
    engine.build(opened, told)
    loaded = wall_edge_engines.load(opened, engine.settings)
    told("verify")
    checks = verify(opened, loaded)
    _require_good(opened, checks)
    opened.require_unchanged()
    told("switch")
    previous = place.now()
    activation = Activation(
        digest=opened.digest,
        folder=str(opened.folder),
        current=str(place.current),
        previous=str(previous) if previous is not None else None,
        engine=engine.settings.name,
        device=engine.settings.device,
        description=loaded.description,
        recipe=opened.manifest.recipe,
        stages=summaries(checks),
        built=engine.built,
        running=previous is not None and previous != opened.folder and place.in_use(previous),
        notes=tuple(engine.notes),
        date=provenance()["date"],
    )
    if opened.folder.parent == real(place.bundles):
        atomic_write(record_path(opened.folder), json.dumps(asdict(activation)) + "\n", durable=True)
    place.switch(opened.folder)
    removed = tuple(str(path) for path in place.prune(keep, previous))
    return Activation(**{**vars(activation), "removed": removed})


@contextmanager
def plain_errors(place: Place) -> Iterator[None]:
    """What the system refuses becomes one line."""
    try:
        yield
    except OSError as problem:
        full = problem.errno in (ENOSPC, EDQUOT)
        raise ConfigError(
            f"{shown(problem.filename or place.root)}: {problem.strerror or problem}",
            expected="a folder that can be written",
            fix="free some disk space, then run the same command again" if full else "choose another --at",
        ) from None


def summaries(checks: Sequence[StageCheck]) -> dict[str, StageSummary]:
    """By kind of stage, the one that comes nearest to its tolerance."""
    by_kind: dict[str, StageSummary] = {}
    for kind, group in groupby(sorted(checks, key=_kind), _kind):
        stages = list(group)
        worst = max(stages, key=lambda check: _error(check) / (check.tolerance or 1.0))
        by_kind[kind] = StageSummary(len(stages), worst.measure, _error(worst), worst.tolerance)
    return by_kind


def _kind(check: StageCheck) -> str:
    return check.stage.partition(".")[0]


def _error(check: StageCheck) -> float:
    return float(getattr(check, check.measure))


def _require_good(opened: Bundle, checks: Sequence[StageCheck]) -> None:
    bad = [check for check in checks if not check.ok]
    if bad:
        worst = max(bad, key=lambda check: _error(check) / (check.tolerance or 1e-300))
        raise BundleError(
            f"{shown(opened.folder)}: {len(bad)} of {len(checks)} stages past tolerance, most {worst.stage}: "
            f"{worst.measure} {_error(worst):.3g}",
            expected=f"at most {worst.tolerance:g}",
            fix="'wall-edge verify' there lists all; the former bundle stays current",
        )


def activate_folder(folder: Path, place: Place, engine: RobotEngine, keep: int, told: Told) -> Activation:
    """The same from a folder, alone in the place. Raises :class:`WallEdgeError`."""
    with plain_errors(place), place.alone(told):
        told("digests")
        return activate(Bundle(real(folder)), place, engine, keep, told)
