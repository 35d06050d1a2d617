"""``--precision auto``: a cheap recipe whose final action chunk stays within an error.

Cost is bytes read for a chunk: vision and prefix once, the expert once an integration step (on a Jetson both
are limited by memory bandwidth). Each layer family is first put into its candidate precision alone and the
final chunk compared with float32, on samples that calibration has not seen. Families then join the recipe
greedily, in the order of squared error a byte saved, as long as the upper confidence bound of the error,
measured for the whole recipe each time, stays within the limit. Many decisions on the same samples favour
luck, so the finished recipe is confirmed on a holdout that took part in none of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wall_edge_engines import EngineSettings, OnnxRuntimeEngine

from wall_edge.array_types import Floats
from wall_edge.bundle import INT8, Manifest, Sensitivity
from wall_edge.errors import ConfigError
from wall_edge.policies.prompts import Prompts
from wall_edge.session_format import Sample
from wall_edge_export.data.samples import MIN_SAMPLES
from wall_edge_export.model.inventory import Inventory, of_graph
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.quantize.action_error import ActionError, action_error, chunks
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.observer import PrecisionPlan
from wall_edge_export.quantize.precision import (
    INT4_BLOCKS,
    INT4_WEIGHTS,
    INT8_WEIGHTS,
    Recipe,
    load_recipe,
)

AUTO = "auto"
_EXPERT = (INT8_WEIGHTS, INT4_WEIGHTS)
CANDIDATES: PrecisionPlan = {
    "vision": dict.fromkeys(("attention", "mlp", "merger"), (INT8,)),
    "prefix": dict.fromkeys(("qkv", "o", "mlp"), (INT8,)),
    "expert": dict.fromkeys(("qkv", "o", "mlp"), _EXPERT),
}
"""What to try below bf16: 8-bit arithmetic where arithmetic limits, fewer bytes where bandwidth does."""


def candidates(weights: Inventory) -> PrecisionPlan:
    """:data:`CANDIDATES` of a model, without 4-bit weights where some layer's inputs take no blocks."""
    return {
        graph: {
            layer: tuple(p for p in precisions if p != INT4_WEIGHTS or _takes_blocks(weights, graph, layer))
            for layer, precisions in families.items()
        }
        for graph, families in CANDIDATES.items()
    }


def _takes_blocks(weights: Inventory, graph: str, layer: str) -> bool:
    family = (weight for weight in of_graph(weights, graph).values() if weight.family == layer)
    return all(weight.shape[1] % INT4_BLOCKS[-1] == 0 for weight in family)


@dataclass(frozen=True)
class SearchResult:
    """The recipe, its error on the holdout, and what each family alone would cost."""

    recipe: Recipe
    error: ActionError
    sensitivity: tuple[Sensitivity, ...]


@dataclass(frozen=True)
class SearchSamples:
    """``selection`` decides about each layer family, ``holdout`` only about the finished recipe."""

    selection: Sequence[Sample]
    holdout: Sequence[Sample]


def split(samples: Sequence[Sample]) -> tuple[list[Sample], SearchSamples]:
    """Calibration, selection and holdout: a third each, in the order of time.

    Stretches and not every third sample, as neighbours in a recording are alike. Raises
    :class:`ConfigError` when there are too few.
    """
    if len(samples) < 3 * MIN_SAMPLES:
        raise ConfigError(
            f"--precision auto on {len(samples)} samples",
            expected=f"at least {3 * MIN_SAMPLES}: a third calibrates, a third selects, a third confirms",
            fix="record longer, or ask for more --samples",
        )
    third = len(samples) // 3
    first, second, last = samples[:third], samples[third : 2 * third], samples[2 * third :]
    return list(first), SearchSamples(second, last)


class Search:
    """One search; ``cost`` gives the bytes that a recipe reads for a chunk, ``plan`` what to try."""

    def __init__(
        self,
        trials: Trials,
        cost: Callable[[Recipe], int],
        limit: float,
        progress: Callable[[str], None],
        plan: PrecisionPlan = CANDIDATES,
    ) -> None:
        self._trials, self._cost, self._limit, self._progress = trials, cost, limit, progress
        self._plan = plan
        self._exact = load_recipe("fp32")
        self._half = replace(load_recipe("bf16"), name=AUTO)

    def run(self, samples: SearchSamples) -> SearchResult:
        """Find the recipe; raises :class:`ConfigError` when not even bf16 stays within the limit."""
        self._progress("auto: float32")
        reference = self._trials.chunks(self._exact, samples.selection)
        ranking = self._ranked(samples.selection, reference)
        steps = self._joined(ranking, samples.selection, reference)
        return self._confirmed(steps, ranking, samples.holdout)

    def _ranked(self, selection: Sequence[Sample], reference: Floats) -> list[Sensitivity]:
        """What each family alone does, cheapest error a byte first."""
        ranking = []
        for graph, families in self._plan.items():
            for layer, precisions in families.items():
                for precision in precisions:
                    self._progress(f"auto: {graph} {layer} {precision}")
                    recipe = replace(self._exact.with_family(graph, layer, precision), name=AUTO)
                    error = action_error(self._trials.chunks(recipe, selection), reference)
                    saved = self._cost(self._half) - self._cost(
                        self._half.with_family(graph, layer, precision)
                    )
                    ranking.append(Sensitivity(graph, layer, precision, error.relative_l2, saved))
        return sorted(ranking, key=lambda entry: entry.action_error**2 / entry.bytes_saved)

    def _joined(
        self, ranking: Sequence[Sensitivity], selection: Sequence[Sample], reference: Floats
    ) -> list[Recipe]:
        """bf16, then each bolder recipe that stayed within the limit."""
        steps = [self._half]
        for entry in ranking:
            bolder = steps[-1].with_family(entry.graph, entry.family, entry.precision)
            if not _saves(steps[-1], entry):
                continue
            self._progress(f"auto: with {entry.graph} {entry.family} {entry.precision}")
            error = action_error(self._trials.chunks(bolder, selection), reference)
            if error.upper_relative_l2 <= self._limit:
                steps.append(bolder)
        return steps

    def _confirmed(
        self, steps: Sequence[Recipe], ranking: Sequence[Sensitivity], holdout: Sequence[Sample]
    ) -> SearchResult:
        """The boldest recipe whose error is within the limit on samples that decided nothing."""
        self._progress("auto: confirming")
        reference = self._trials.chunks(self._exact, holdout)
        for recipe in reversed(steps):
            error = action_error(self._trials.chunks(recipe, holdout), reference)
            if error.upper_relative_l2 <= self._limit:
                return SearchResult(recipe, error, tuple(ranking))
        raise ConfigError(
            f"--max-action-error {self._limit:g}",
            expected=f"at least {error.upper_relative_l2:.2g}, what bf16 reaches on this data",
            fix="allow more, or export with --precision fp32",
        )


def _saves(recipe: Recipe, entry: Sensitivity) -> bool:
    """Whether the entry goes below what the recipe has for this family already."""
    order = ("fp32", "fp16", "bf16", INT8, INT8_WEIGHTS, INT4_WEIGHTS)
    return order.index(entry.precision) > order.index(recipe.families(entry.graph)[entry.family])


class Trials:
    """Recipes written to a scratch folder and run; a graph that two recipes share is written once."""

    def __init__(
        self,
        writer: GraphWriter,
        calibrated: Mapping[str, Calibrated],
        manifest: Callable[[Recipe], Manifest],
        prompts: Prompts,
        folder: Path,
    ) -> None:
        self._writer, self._calibrated, self._manifest = writer, calibrated, manifest
        self._prompts, self._folder = prompts, folder
        self._current: dict[str, object] = {}
        folder.mkdir(exist_ok=True)

    def chunks(self, recipe: Recipe, samples: Sequence[Sample]) -> Floats:
        """The recipe's final chunks for some observations."""
        for graph in CANDIDATES:
            key = (recipe.families(graph), recipe.activations)
            if self._current.get(graph) != key:
                self._current.pop(graph, None)
                self._writer.write(graph, recipe, self._folder, self._calibrated.get(graph))
                self._current[graph] = key
        manifest = self._manifest(recipe)
        graphs = {graph: manifest.graphs[graph] for graph in CANDIDATES}  # no chunk needs the vocabulary head
        engine = OnnxRuntimeEngine(self._folder, graphs, EngineSettings(threads=os.cpu_count() or 1))
        return chunks(manifest, self._prompts, engine, samples)
