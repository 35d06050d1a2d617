"""Whether a target and its compiler have what a bundle's graphs ask for; if not, what comes nearest."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wall_edge.bundle import Bundle, Manifest
from wall_edge.errors import EngineError
from wall_edge.files import shown
from wall_edge_engines.build.check.lint import lint
from wall_edge_engines.build.targets.selection import Selection
from wall_edge_engines.build.targets.target import Target

_ELEMENT_TYPE = {
    "fp32": "fp32",
    "fp16": "fp16",
    "bf16": "bf16",
    "int8": "int8",
    "int8-weights": "int8",
    "int4-weights": "int4",
}
_NEAREST = {
    "int4-weights": "int8-weights",
    "int8": "fp16",
    "int8-weights": "fp16",
    "fp16": "fp32",
    "bf16": "fp32",
}
"""Never bf16 → fp16: what overflows there was exported in bf16 for that reason."""


_LATER_PARSER = (10, 14)
"""From here on parsers take more than the one that graphs are held against."""


def require_precisions(manifest: Manifest, target: Target) -> None:
    """Raises :class:`EngineError` for the first layer family in a precision that ``target`` lacks."""
    families = {name: graph.families for name, graph in manifest.graphs.items()}
    require_families(families, manifest.recipe, target)


def require_families(families: Mapping[str, Mapping[str, str]], recipe: str, target: Target) -> None:
    """As :func:`require_precisions`, for the layer families of every graph of a recipe."""
    for graph, precisions in families.items():
        for family, precision in precisions.items():
            if not _exists(precision, target):
                raise EngineError(
                    f"graph {graph}, {family}: {precision} does not exist on {target.title} ({target.kind})",
                    expected=", ".join(target.element_types),
                    fix=f"the nearest there is {nearest(precision, target)}: export again with "
                    f"--precision {nearest(recipe, target)}",
                )


def nearest(precision: str, target: Target) -> str:
    """The precision, or the recipe of that name, that comes nearest and exists on ``target``."""
    while precision in _NEAREST and not _exists(precision, target):
        precision = _NEAREST[precision]
    return precision if precision in _ELEMENT_TYPE else target.recipes[0]


def _exists(precision: str, target: Target) -> bool:
    return _ELEMENT_TYPE.get(precision) in target.element_types


def recommendation(manifest: Manifest, target: Target) -> list[str]:
    """A line for a bundle of a recipe that is not among the target's."""
    if manifest.recipe in target.recipes:
        return []
    better = " or ".join(target.recipes)
    return [f"{shown(manifest.recipe, 64)} is not a recipe for {target.title}: better {better}"]


def parser_doubts(bundle: Bundle, selection: Selection) -> list[str]:
    """What an early TensorRT's parser is not documented to take of the graphs, a line each.

    Doubts and no refusal: the documents say less than the parser takes, and it has the last word.
    """
    if selection.compiler != "tensorrt" or _numbers(selection.version) >= _LATER_PARSER:
        return []
    return [
        f"graph {name}: TensorRT {selection.version} may not take this: {problem}"
        for name, graph in bundle.manifest.graphs.items()
        for problem in lint(bundle.folder, graph)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:3])
