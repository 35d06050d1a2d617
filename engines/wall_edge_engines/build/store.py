"""The loading side: which plan files belong to a bundle on this machine, or by name why none does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wall_edge.bundle import Bundle, file_digest
from wall_edge.errors import EngineError
from wall_edge.files import shown
from wall_edge_engines.build.profiles import profiles_of
from wall_edge_engines.build.record import RECORD, BuildRecord, BuildSettings, engines_folder
from wall_edge_engines.cuda.driver import DeviceFacts


@dataclass(frozen=True)
class Runtime:
    """What would load the plans: ``tensorrt`` or ``tensorrt-rtx``, its version, and the GPU."""

    compiler: str
    version: str
    device: DeviceFacts


@dataclass(frozen=True)
class Plan:
    """One graph's plan file, whose digest has been checked."""

    path: Path
    bytes: int


class EngineStore:
    """The engines that were built for a bundle, opened: ``plans`` has one for each of its graphs."""

    def __init__(self, folder: Path, record: BuildRecord, plans: Mapping[str, Plan]) -> None:
        self.folder, self.record, self.plans = folder, record, plans

    @classmethod
    def open(cls, bundle: Bundle, runtime: Runtime) -> EngineStore:
        """The engines of this bundle for this compiler and GPU, every plan checked against its digest.

        Raises :class:`EngineError` that names what differs, is missing or damaged, and how to build it.
        """
        fix = f"wall-edge build {shown(bundle.folder)} --compiler {runtime.compiler}"
        folder, record = _matching(bundle, runtime, fix)
        plans = {graph: _plan(folder, graph, record, fix) for graph in bundle.manifest.graphs}
        return cls(folder, record, plans)


def _matching(bundle: Bundle, runtime: Runtime, fix: str) -> tuple[Path, BuildRecord]:
    """Of the folders beside the bundle the one that runs here; a damaged record hides no other."""
    reasons: list[list[str]] = []
    damages: list[str] = []
    where = engines_folder(bundle)
    for path in sorted(where.glob(f"*/{RECORD}")):
        try:
            record = BuildRecord.read(path.parent)
        except EngineError as damage:
            damages.append(str(damage))
            continue
        reasons.append(_differences(bundle, runtime, record))
        if not reasons[-1]:
            return path.parent, record
    if reasons:
        nearest = min(reasons, key=len)
        raise EngineError(f"{shown(where)}: {', '.join(nearest)}", fix=fix)
    if damages:
        raise EngineError(damages[0], fix=fix)
    raise EngineError(f"{shown(where)}: no engines", expected="engines of this bundle", fix=fix)


def _differences(bundle: Bundle, runtime: Runtime, record: BuildRecord) -> list[str]:
    """What keeps a folder's engines from running here, each with what it is and what it should be."""
    key, device = record.key, runtime.device
    facts = (
        ("engines of bundle", key.bundle[:12], bundle.digest[:12]),
        ("engines by", f"{key.compiler} {key.version}", f"{runtime.compiler} {runtime.version}"),
        ("engines for SM", str(key.sm), str(device.sm)),
        ("engines for GPU", key.gpu or device.name, device.name),
    )
    reasons = [f"{what} {built}, not {here}" for what, built, here in facts if built != here]
    if key.bundle == bundle.digest and record.settings != BuildSettings(profiles_of(bundle.manifest)):
        reasons.append("engines of other settings (prompt lengths or streams) than this version builds")
    return reasons


def _plan(folder: Path, graph: str, record: BuildRecord, fix: str) -> Plan:
    if graph not in record.graphs:
        raise EngineError(f"{shown(folder)}: no engine of graph {graph}", fix=fix)
    entry = record.graphs[graph]
    path = folder / entry.file
    try:
        size = path.stat().st_size
    except OSError as problem:
        raise EngineError(f"{shown(path)}: {problem.strerror}", fix=fix) from None
    if size != entry.bytes or file_digest(path) != entry.sha256:
        raise EngineError(f"{shown(path)}: damaged", expected=f"SHA-256 {entry.sha256[:12]}…", fix=fix)
    return Plan(path, entry.bytes)
