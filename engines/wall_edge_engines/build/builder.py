"""Every graph of a bundle → plans beside it; what was built stays, a rerun goes on with the rest."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from wall_edge.bundle import Bundle, file_digest
from wall_edge.errors import EngineError, WallEdgeError
from wall_edge.files import shown
from wall_edge.provenance import provenance
from wall_edge_engines.build.compile import Job
from wall_edge_engines.build.compilers import COMPILERS
from wall_edge_engines.build.graph_process import compile_apart
from wall_edge_engines.build.profiles import profiles_of
from wall_edge_engines.build.record import (
    BuildRecord,
    BuildSettings,
    GraphRecord,
    Key,
    engines_folder,
    folder_name,
    timings_name,
)
from wall_edge_engines.build.targets.memory import available_bytes, build_shortage
from wall_edge_engines.build.targets.selection import Selection
from wall_edge_engines.build.targets.sizes import graph_bytes

Told = Callable[[str], None]


@dataclass(frozen=True)
class GraphResult:
    """How one graph went. ``reason`` is empty where it went well; ``kept``: an earlier run had built it."""

    ok: bool
    seconds: float
    bytes: int
    peak_bytes: int
    reason: str = ""
    kept: bool = False


class Builder:
    """Builds a bundle's engines into their folder."""

    def __init__(self, bundle: Bundle, selection: Selection) -> None:
        self._bundle, self._selection = bundle, selection
        device = selection.device
        self._key = Key(
            bundle=bundle.digest,
            compiler=selection.compiler,
            version=selection.version,
            gpu=device.name if device is not None else None,
            sm=selection.sm,
        )
        self._settings = BuildSettings(profiles_of(bundle.manifest))
        self.folder = engines_folder(bundle) / folder_name(self._key, self._settings)

    @property
    def order(self) -> list[str]:
        """The graphs, the largest first: what cannot fit is known before time went into the others."""
        graphs = self._bundle.manifest.graphs
        return sorted(graphs, key=lambda graph: graph_bytes(self._bundle, graph), reverse=True)

    def build(self, told: Told) -> dict[str, GraphResult]:
        """Every graph in a process of its own; one that fails keeps no other from being built.

        ``told`` hears each graph's name as it starts, and what it does then. Raises :class:`EngineError`.
        """
        results = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(self.folder):
                record = self._record()
                for graph in self.order:
                    told(graph)
                    results[graph], record = self._graph(graph, record, told)
        except OSError as problem:
            where = shown(problem.filename or self.folder)
            raise EngineError(
                f"{where}: {problem.strerror}", expected="a folder that can be written"
            ) from None
        self._bundle.require_unchanged()
        return results

    def _record(self) -> BuildRecord:
        """What an earlier run left here, or a new record."""
        device = self._selection.device
        new = BuildRecord(
            key=self._key,
            settings=self._settings,
            target=self._selection.target.name,
            device_memory_bytes=device.memory_bytes if device is not None else None,
            built=provenance(),
        )
        try:
            earlier = BuildRecord.read(self.folder)
        except WallEdgeError:  # none, or a damaged one: then everything is built again
            return new
        same = earlier.key == self._key and earlier.settings == self._settings
        return replace(new, graphs=earlier.graphs) if same else new

    def _graph(self, graph: str, record: BuildRecord, told: Told) -> tuple[GraphResult, BuildRecord]:
        if (entry := record.graphs.get(graph)) is not None and self._intact(entry):
            return GraphResult(True, entry.seconds, entry.bytes, entry.peak_bytes, kept=True), record
        weights, profiles = graph_bytes(self._bundle, graph), len(self._settings.profiles[graph])
        if reason := build_shortage(weights, profiles, available_bytes()):
            return GraphResult(False, 0.0, 0, 0, reason), record
        job = self._job(graph)
        compiled, reason, peak = compile_apart(job, lambda phase: told(f"{graph}: {phase}"))
        if compiled is None:
            return GraphResult(False, 0.0, 0, peak, reason), record
        spec = self._bundle.manifest.graphs[graph]
        self._bundle.require_unchanged(spec.file, spec.data)  # compilers open them by name
        entry = GraphRecord(
            file=Path(job.plan).name,
            sha256=compiled.sha256,
            bytes=compiled.bytes,
            seconds=round(compiled.seconds, 3),
            peak_bytes=peak,
        )
        record = replace(record, graphs={**record.graphs, graph: entry})
        record.write(self.folder)
        return GraphResult(True, entry.seconds, entry.bytes, peak), record

    def _job(self, graph: str) -> Job:
        spec, compiler = self._bundle.manifest.graphs[graph], COMPILERS[self._key.compiler]
        timings = self.folder.parent / timings_name(self._key)
        return Job(
            compiler=self._key.compiler,
            onnx=str(self._bundle.path(spec.file).resolve()),
            plan=str(self.folder / f"{graph}.plan"),
            inputs=spec.inputs,
            profiles=self._settings.profiles[graph],
            sm=self._key.sm if self._selection.device is None else None,
            aux_streams=self._settings.aux_streams,
            timing_cache=str(timings) if compiler.timing_cache else None,
        )

    def _intact(self, entry: GraphRecord) -> bool:
        path = self.folder / entry.file
        return path.is_file() and path.stat().st_size == entry.bytes and file_digest(path) == entry.sha256


def stale_folders(bundle: Bundle, current: Path) -> dict[Path, int]:
    """Folders of engines of other bundles, versions or GPUs beside ``current``, with their sizes in bytes."""
    folders = [path for path in engines_folder(bundle).iterdir() if path.is_dir() and path != current]
    return {path: sum(file.stat().st_size for file in path.iterdir()) for path in sorted(folders)}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One build a folder. Raises :class:`EngineError` while another runs."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise EngineError(
            f"{shown(folder)}: another build is writing there",
            fix="wait for it, then run the same command again",
        ) from None
    finally:
        os.close(descriptor)
