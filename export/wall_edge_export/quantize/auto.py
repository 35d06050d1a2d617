"""``--precision auto``: a cheap recipe whose final action chunk stays within an error.

Cost is bytes read for a chunk: vision and prefix once, the expert once an integration step (on a Jetson both
are limited by memory bandwidth). Each layer family is first put into its candidate precision alone and the
final chunk compared with float32, on moments that calibration has not seen. Families then join the recipe
greedily, in the order of squared error a byte saved, as long as the upper confidence bound of the error,
measured for the whole recipe each time, stays within the limit. Many decisions on the same moments favour
luck, so the finished recipe is confirmed on moments that took part in none of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wall_edge_engines.onnxruntime import OnnxRuntimeEngine

from wall_edge.bundle import INT8, Manifest, Sensitivity
from wall_edge.errors import ConfigError
from wall_edge.policies.prompts import Prompts
from wall_edge_export.data.samples import Sample
from wall_edge_export.data.sessions import MIN_SAMPLES
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.quantize.action_error import ActionError, Floats, action_error, chunks
from wall_edge_export.quantize.calibrate import PrecisionPlan
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.precision import INT4_WEIGHTS, INT8_WEIGHTS, Recipe, load_recipe

AUTO = "auto"
_EXPERT = (INT8_WEIGHTS, INT4_WEIGHTS)
CANDIDATES: PrecisionPlan = {
    "vision": dict.fromkeys(("attention", "mlp", "merger"), (INT8,)),
    "prefix": dict.fromkeys(("qkv", "o", "mlp"), (INT8,)),
    "expert": dict.fromkeys(("qkv", "o", "mlp"), _EXPERT),
}
"""What to try below fp16: 8-bit arithmetic where arithmetic limits, fewer bytes where bandwidth does."""


@dataclass(frozen=True)
class Found:
    """The recipe, its error on the confirming moments, and what each family alone would cost."""

    recipe: Recipe
    error: ActionError
    sensitivity: tuple[Sensitivity, ...]


@dataclass(frozen=True)
class Holdout:
    """What a search runs on: ``judges`` decide about each family, ``jury`` only about the finished recipe."""

    judges: Sequence[Sample]
    jury: Sequence[Sample]


def split(samples: Sequence[Sample]) -> tuple[list[Sample], Holdout]:
    """Calibration, judges and jury: a third each, in the order of time.

    Stretches and not every third moment, as neighbours in a recording are alike. Raises
    :class:`ConfigError` when there are too few.
    """
    if len(samples) < 3 * MIN_SAMPLES:
        raise ConfigError(
            f"--precision auto on {len(samples)} moments",
            expected=f"at least {3 * MIN_SAMPLES}: a third calibrates, a third judges, a third confirms",
            fix="record longer, or ask for more --samples",
        )
    third = len(samples) // 3
    first, second, last = samples[:third], samples[third : 2 * third], samples[2 * third :]
    return list(first), Holdout(second, last)


class Search:
    """One search; ``cost`` gives the bytes that a recipe reads for a chunk."""

    def __init__(
        self, trials: Trials, cost: Callable[[Recipe], int], limit: float, progress: Callable[[str], None]
    ) -> None:
        self._trials, self._cost, self._limit, self._progress = trials, cost, limit, progress
        self._exact = load_recipe("fp32")
        self._half = replace(load_recipe("fp16"), name=AUTO)

    def run(self, moments: Holdout) -> Found:
        """Find the recipe; raises :class:`ConfigError` when not even fp16 stays within the limit."""
        self._progress("auto: float32")
        reference = self._trials.chunks(self._exact, moments.judges)
        ranking = self._ranked(moments.judges, reference)
        steps = self._joined(ranking, moments.judges, reference)
        return self._confirmed(steps, ranking, moments.jury)

    def _ranked(self, judges: Sequence[Sample], reference: Floats) -> list[Sensitivity]:
        """What each family alone does, cheapest error a byte first."""
        ranking = []
        for graph, families in CANDIDATES.items():
            for layer, precisions in families.items():
                for precision in precisions:
                    self._progress(f"auto: {graph} {layer} {precision}")
                    tried = replace(self._exact.with_family(graph, layer, precision), name=AUTO)
                    error = action_error(self._trials.chunks(tried, judges), reference)
                    saved = self._cost(self._half) - self._cost(
                        self._half.with_family(graph, layer, precision)
                    )
                    ranking.append(Sensitivity(graph, layer, precision, error.relative_l2, saved))
        return sorted(ranking, key=lambda entry: entry.action_error**2 / entry.bytes_saved)

    def _joined(
        self, ranking: Sequence[Sensitivity], judges: Sequence[Sample], reference: Floats
    ) -> list[Recipe]:
        """fp16, then each bolder recipe that stayed within the limit."""
        steps = [self._half]
        for entry in ranking:
            bolder = steps[-1].with_family(entry.graph, entry.family, entry.precision)
            if not _saves(steps[-1], entry):
                continue
            self._progress(f"auto: with {entry.graph} {entry.family} {entry.precision}")
            error = action_error(self._trials.chunks(bolder, judges), reference)
            if error.upper_relative_l2 <= self._limit:
                steps.append(bolder)
        return steps

    def _confirmed(
        self, steps: Sequence[Recipe], ranking: Sequence[Sensitivity], jury: Sequence[Sample]
    ) -> Found:
        """The boldest recipe whose error is within the limit on moments that decided nothing."""
        self._progress("auto: confirming")
        reference = self._trials.chunks(self._exact, jury)
        for recipe in reversed(steps):
            error = action_error(self._trials.chunks(recipe, jury), reference)
            if error.upper_relative_l2 <= self._limit:
                return Found(recipe, error, tuple(ranking))
        raise ConfigError(
            f"--max-action-error {self._limit:g}",
            expected=f"at least {error.upper_relative_l2:.2g}, what fp16 reaches on this data",
            fix="allow more, or export with --precision fp32",
        )


def _saves(recipe: Recipe, entry: Sensitivity) -> bool:
    """Whether the entry goes below what the recipe has for this family already."""
    order = ("fp32", "fp16", INT8, INT8_WEIGHTS, INT4_WEIGHTS)
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
        self._current: dict[str, dict[str, str]] = {}
        folder.mkdir(exist_ok=True)

    def chunks(self, recipe: Recipe, samples: Sequence[Sample]) -> Floats:
        """The recipe's final chunks for some observations."""
        for graph in CANDIDATES:
            families = recipe.families(graph)
            if self._current.get(graph) != families:
                self._current.pop(graph, None)
                self._writer.write(graph, families, self._folder, self._calibrated.get(graph))
                self._current[graph] = families
        manifest = self._manifest(recipe)
        graphs = {graph: manifest.graphs[graph] for graph in CANDIDATES}  # no chunk needs the vocabulary head
        engine = OnnxRuntimeEngine(self._folder, graphs, threads=os.cpu_count() or 1)
        return chunks(manifest, self._prompts, engine, samples)
