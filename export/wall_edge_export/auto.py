"""``--precision auto``: the cheapest recipe whose final action chunk stays within an error.

Cost is bytes read for a chunk: vision and prefix once, the expert once an integration step (on a Jetson both
are limited by memory bandwidth). Each layer family is first put into its candidate precision alone and the
final chunk compared with float32, on observations that calibration has not seen. Families then join the
recipe in the order of squared error a byte saved, as long as the upper confidence bound of the error,
measured for the whole recipe each time, stays within the limit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wall_edge_engines.onnxruntime import OnnxRuntimeEngine

from wall_edge.bundle import INT8, Manifest, Sensitivity
from wall_edge.errors import ConfigError
from wall_edge.policy import Prompts

from .action_error import ActionError, Floats, action_error, chunks
from .calibrate import Wanted
from .calibrated import Calibrated
from .graph_writer import GraphWriter
from .graphs import GRAPHS
from .precision import INT4_WEIGHTS, INT8_WEIGHTS, Recipe, load_recipe
from .samples import Sample

AUTO = "auto"
_RING = (INT8_WEIGHTS, INT4_WEIGHTS)
CANDIDATES: Wanted = {
    "vision": dict.fromkeys(("attention", "mlp", "merger"), (INT8,)),
    "prefix": dict.fromkeys(("qkv", "o", "mlp"), (INT8,)),
    "expert": dict.fromkeys(("qkv", "o", "mlp"), _RING),
}
"""What to try below fp16: 8-bit arithmetic where arithmetic limits, fewer bytes where bandwidth does."""


@dataclass(frozen=True)
class Found:
    """The recipe, its error on the judging observations, and what each family alone would cost."""

    recipe: Recipe
    error: ActionError
    sensitivity: tuple[Sensitivity, ...]


def search(
    writer: GraphWriter,
    calibrated: Mapping[str, Calibrated],
    manifest: Callable[[Recipe], Manifest],
    prompts: Prompts,
    judges: Sequence[Sample],
    limit: float,
    cost: Callable[[Recipe], int],
    scratch: Path,
    progress: Callable[[str], None],
) -> Found:
    """Find the recipe; ``cost`` gives the bytes that a recipe reads for a chunk.

    Raises :class:`ConfigError` when not even fp16 stays within ``limit``.
    """
    trials = _Trials(writer, calibrated, manifest, prompts, judges, scratch / "trials")
    exact, half = load_recipe("fp32"), replace(load_recipe("fp16"), name=AUTO)
    progress("auto: float32")
    reference = trials.chunks(exact)
    ranking = []
    for graph, families in CANDIDATES.items():
        for layer, precisions in families.items():
            for precision in precisions:
                progress(f"auto: {graph} {layer} {precision}")
                tried = replace(exact.with_family(graph, layer, precision), name=AUTO)
                error = action_error(trials.chunks(tried), reference)
                saved = cost(half) - cost(half.with_family(graph, layer, precision))
                ranking.append(Sensitivity(graph, layer, precision, error.relative_l2, saved))
    ranking.sort(key=lambda entry: entry.action_error**2 / entry.bytes_saved)
    recipe, best = half, action_error(trials.chunks(half), reference)
    if best.upper_relative_l2 > limit:
        raise ConfigError(
            f"--max-action-error {limit:g}",
            expected=f"at least {best.upper_relative_l2:.2g}, what fp16 reaches on this data",
            fix="allow more, or export with --precision fp32",
        )
    for entry in ranking:
        bolder = recipe.with_family(entry.graph, entry.family, entry.precision)
        if bolder == recipe or not _saves(recipe, entry):
            continue
        progress(f"auto: with {entry.graph} {entry.family} {entry.precision}")
        error = action_error(trials.chunks(bolder), reference)
        if error.upper_relative_l2 <= limit:
            recipe, best = bolder, error
    shutil.rmtree(scratch / "trials", ignore_errors=True)
    return Found(recipe, best, tuple(ranking))


def _saves(recipe: Recipe, entry: Sensitivity) -> bool:
    """Whether the entry goes below what the recipe has for this family already."""
    order = ("fp32", "fp16", INT8, INT8_WEIGHTS, INT4_WEIGHTS)
    return order.index(entry.precision) > order.index(recipe.families(entry.graph)[entry.family])


class _Trials:
    """Recipes written to a scratch folder and run; graphs that two recipes share are written once."""

    def __init__(
        self,
        writer: GraphWriter,
        calibrated: Mapping[str, Calibrated],
        manifest: Callable[[Recipe], Manifest],
        prompts: Prompts,
        judges: Sequence[Sample],
        folder: Path,
    ) -> None:
        self._writer, self._calibrated, self._manifest = writer, calibrated, manifest
        self._prompts, self._judges, self._folder = prompts, judges, folder
        self._current: dict[str, dict[str, str]] = {}
        folder.mkdir(exist_ok=True)

    def chunks(self, recipe: Recipe) -> Floats:
        """The recipe's final chunks for the judging observations."""
        for graph in GRAPHS:
            families = recipe.families(graph)
            if self._current.get(graph) != families:
                self._writer.write(graph, families, self._folder, self._calibrated.get(graph))
                self._current[graph] = families
        manifest = self._manifest(recipe)
        engine = OnnxRuntimeEngine(self._folder, manifest.graphs, threads=os.cpu_count() or 1)
        return chunks(manifest, self._prompts, engine, self._judges)
