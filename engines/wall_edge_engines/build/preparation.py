"""What is asked before anything is built: whether the target has the types and the memory."""

from __future__ import annotations

from wall_edge.bundle import Bundle
from wall_edge_engines.build.builder import Builder
from wall_edge_engines.build.targets.memory import require_fits
from wall_edge_engines.build.targets.precisions import parser_doubts, recommendation, require_precisions
from wall_edge_engines.build.targets.selection import Selection


def prepare(bundle: Bundle, selection: Selection) -> tuple[Builder, list[str]]:
    """A builder of the bundle's engines, and what a person should know first, a line each.

    Raises :class:`EngineError` where the target lacks a type, or the memory to run them.
    """
    require_precisions(bundle.manifest, selection.target)
    require_fits(bundle, selection.target, selection.memory_bytes)
    notes = [*recommendation(bundle.manifest, selection.target), *parser_doubts(bundle, selection)]
    return Builder(bundle, selection), notes
