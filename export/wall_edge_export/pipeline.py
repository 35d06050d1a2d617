"""Checkpoint → bundle: one layer in memory at a time, whole or not at all, resumed when interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from wall_edge.bundle import (
    FORMAT_VERSION,
    GOLDENS,
    HEAD_TOKENS,
    TOKENIZER,
    CalibrationRecord,
    FamilyLoss,
    Manifest,
    Sensitivity,
    file_digest,
    require_replaceable,
    write_manifest,
)
from wall_edge.bundle import Source as SourceRecord
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.fast import FAST_TOKENIZER
from wall_edge.verify import golden_inputs, record, synthetic_observation, tolerances

from .auto import AUTO, CANDIDATES, search
from .calibrate import Calibrator, Wanted
from .calibrated import Calibrated
from .calibration_data import load_samples
from .checkpoint import Checkpoint
from .graph_writer import GraphWriter
from .graphs import GRAPHS
from .lazy import LazyModel, weight_reader
from .model_input import model_input
from .precision import CALIBRATED, Recipe, family, load_recipe
from .reference import ReferenceEngine
from .samples import Sample, SampleSet
from .source import Source
from .workspace import Workspace, require_room, workspace

Progress = Callable[[str], None]
STAGES = ("checkpoint", "calibration", *GRAPHS, "goldens")
_CALIBRATED_GRAPHS = ("vision", "prefix", "expert")
_SPARE_BYTES = 256 << 20
"""Room for goldens, calibration and graph structure beside the weights."""
_FORMAT = "1"
"""Part of a workspace's key: raised when what the steps leave behind changes."""


@dataclass(frozen=True)
class Request:
    """What a bundle shall be made of and how."""

    precision: str = "fp32"
    """A recipe's name or file, or ``auto``."""
    max_action_error: float | None = None
    """For ``auto``: the relative L2 error of the final chunk that must not be exceeded."""
    calibration: Path | None = None
    """A recorded session or a LeRobot dataset."""
    samples: int = 32
    """Moments taken from it."""
    vocabulary: Path | None = None
    """Text file with one subgoal a line: the vocabulary head keeps only the tokens that these need."""
    fast: Path | None = None
    """For a ``wall-oss-fast`` checkpoint: the folder of the FAST tokenizer."""


def export_bundle(
    checkpoint: Checkpoint,
    out: Path,
    robot: RobotConfig | None = None,
    request: Request = Request(),
    progress: Progress = lambda _: None,
) -> Manifest:
    """Write the bundle of ``checkpoint`` to ``out``.

    ``progress`` is told every stage (:data:`STAGES`) and details of it. Raises :class:`CheckpointError`,
    :class:`ConfigError` or :class:`BundleError`.
    """
    progress("checkpoint")
    recipe = _recipe(request)
    source = Source.open(checkpoint, robot, request.vocabulary, request.fast)
    require_replaceable(out)
    # ``auto`` keeps a second set of graphs, one of them in float32, while it searches.
    sets = (load_recipe("fp32"), recipe) if request.precision == AUTO else (recipe,)
    require_room(out.parent, sum(sum(source.graph_bytes(one).values()) for one in sets) + _SPARE_BYTES)
    data = _samples(request, recipe, source)
    key = _key(source, recipe, request, data)
    with workspace(out, key) as space:
        export = _Export(source, recipe, request, data, space, progress)
        return export.run(robot.instruction if robot is not None else None)


class _Export:
    """The steps of one export in its workspace."""

    def __init__(
        self,
        source: Source,
        recipe: Recipe,
        request: Request,
        data: SampleSet | None,
        space: Workspace,
        progress: Progress,
    ) -> None:
        self._source, self._recipe, self._request, self._data = source, recipe, request, data
        self._space, self._progress = space, progress
        self._sensitivity: tuple[Sensitivity, ...] = ()
        head = None if source.head_tokens is None else source.head_tokens.tolist()
        shape = source.checkpoint.shape
        self._lazy = LazyModel(source.checkpoint, head)
        self._writer = GraphWriter(shape, source.given, weight_reader(source.checkpoint, head))

    def run(self, instruction: str | None) -> Manifest:
        """Do what is not done yet; returns the manifest that was written."""
        space = self._space
        space.step("files", self._copy_files)
        self._progress("calibration")
        if self._data is not None:
            space.step("calibration", self._calibrate)
        if self._request.precision == AUTO:
            self._choose()
        for graph in self._source.given.graphs:
            self._progress(graph)
            space.step(graph, lambda graph=graph: self._write(graph))  # type: ignore[misc]
        self._progress("goldens")
        space.step("goldens", lambda: self._goldens(instruction or "do the task."))
        manifest = replace(self._manifest(self._recipe), files=space.digests())
        write_manifest(space.folder, manifest)
        return manifest

    def _copy_files(self) -> dict[str, str]:
        folder, head = self._space.folder, self._source.head_tokens
        shutil.copyfile(self._source.checkpoint.tokenizer, folder / TOKENIZER)
        names = [TOKENIZER]
        if head is not None:
            np.save(folder / HEAD_TOKENS, head)
            names.append(HEAD_TOKENS)
        if self._source.fast is not None:
            shutil.copyfile(self._source.fast.path, folder / FAST_TOKENIZER)
            names.append(FAST_TOKENIZER)
        return {name: file_digest(folder / name) for name in names}

    def _calibrate(self) -> dict[str, str]:
        assert self._data is not None
        manifest = self._manifest(self._recipe)
        inputs = [model_input(sample, manifest, self._source) for sample in self._calibration_samples()]
        calibrator = Calibrator(self._lazy, self._source.given, self._wanted())
        found = calibrator.run(inputs, self._progress)
        names = []
        for graph, calibrated in found.items():
            path = self._space.scratch / f"calibrated-{graph}.npz"
            calibrated.save(path)
            names.append(str(path.relative_to(self._space.folder)))
        return dict.fromkeys(names, "")

    def _calibration_samples(self) -> list[Sample]:
        """All samples that were asked for, or every other one when the rest shall judge."""
        assert self._data is not None
        samples = list(self._data.samples[: self._request.samples])
        return samples[::2] if self._request.precision == AUTO else samples

    def _wanted(self) -> Wanted:
        if self._request.precision == AUTO:
            return CANDIDATES
        return {
            graph: {
                name: (precision,)
                for name, precision in self._recipe.families(graph).items()
                if precision in CALIBRATED
            }
            for graph in self._source.given.graphs
        }

    def _calibrated(self, graph: str) -> Calibrated:
        path = self._space.scratch / f"calibrated-{graph}.npz"
        return Calibrated.load(path) if self._data is not None and path.is_file() else Calibrated()

    def _choose(self) -> None:
        """The cheapest recipe within the error that is allowed; found once, and kept for a rerun."""
        path = self._space.scratch / "auto.json"
        limit = self._request.max_action_error
        assert self._data is not None
        assert limit is not None

        def choose() -> dict[str, str]:
            assert self._data is not None
            found = search(
                self._writer,
                {graph: self._calibrated(graph) for graph in _CALIBRATED_GRAPHS},
                self._manifest,
                self._source.prompts,
                list(self._data.samples)[1::2],
                limit,
                self._cost,
                self._space.scratch,
                self._progress,
            )
            ranking = [asdict(entry) for entry in found.sensitivity]
            path.write_text(json.dumps({"recipe": found.recipe.as_dict(), "sensitivity": ranking}))
            return {str(path.relative_to(self._space.folder)): ""}

        self._space.step("auto", choose)
        stored = json.loads(path.read_text())
        self._recipe = Recipe.from_dict(stored["recipe"])
        self._sensitivity = tuple(Sensitivity(**entry) for entry in stored["sensitivity"])

    def _cost(self, recipe: Recipe) -> int:
        """Bytes that one action chunk reads: the expert once an integration step."""
        sizes = self._source.graph_bytes(recipe)
        steps = len(self._source.settings.time_grid) - 1
        return sizes["vision"] + sizes["prefix"] + steps * sizes["expert"]

    def _write(self, graph: str) -> dict[str, str]:
        families = self._recipe.families(graph)
        return self._writer.write(graph, families, self._space.folder, self._calibrated(graph))

    def _goldens(self, instruction: str) -> dict[str, str]:
        manifest = self._manifest(self._recipe)
        if self._data is not None:
            moment = self._data.samples[-1]
            inputs = golden_inputs(moment.observation, moment.words, manifest)
        else:
            inputs = golden_inputs(synthetic_observation(manifest), instruction, manifest)
        engine = ReferenceEngine(self._lazy.model, self._source.given)
        outputs = record(manifest, self._source.prompts, engine, inputs)
        for name, values in outputs.items():
            if not np.all(np.isfinite(values)):
                raise CheckpointError(
                    f"{manifest.source.checkpoint}: its weights give {name} that are not finite",
                    expected="finite values",
                    fix="copy or download the checkpoint again",
                )
        path = self._space.folder / GOLDENS
        np.savez(path, **inputs, **outputs)  # type: ignore[arg-type]
        return {GOLDENS: file_digest(path)}

    def _losses(self, recipe: Recipe) -> tuple[FamilyLoss, ...]:
        """What calibration saw each quantised layer family lose."""
        made = []
        for graph in _CALIBRATED_GRAPHS:
            found = self._calibrated(graph).losses
            for name, precision in recipe.families(graph).items():
                layers = {w: e for (w, p), e in found.items() if p == precision and family(graph, w) == name}
                if layers:
                    worst = max(layers, key=lambda layer: layers[layer])
                    mean = sum(layers.values()) / len(layers)
                    made.append(FamilyLoss(graph, name, precision, mean, layers[worst], worst))
        return tuple(made)

    def _manifest(self, recipe: Recipe) -> Manifest:
        """The manifest of ``recipe``'s graphs, without the files' digests."""
        chosen, data = self._source.settings, self._data
        used = None if data is None else CalibrationRecord(data.name, data.sha256, len(data.samples))
        families = {graph: recipe.families(graph) for graph in self._source.given.graphs}
        fast = self._source.fast
        return Manifest(
            format_version=FORMAT_VERSION,
            source=SourceRecord(self._source.checkpoint.folder.resolve().name, self._source.sha256),
            embodiment=chosen.embodiment,
            cameras=chosen.cameras,
            prompt_flavour=f"wall-oss-{self._source.given.actions}",
            horizon=chosen.horizon,
            action_rate_hz=chosen.action_rate_hz,
            time_grid=chosen.time_grid,
            max_prompt_tokens=self._source.max_prompt_tokens,
            recipe=recipe.name,
            graphs={graph: self._writer.spec(graph, used) for graph, used in families.items()},
            tolerances=tolerances(families, chosen.embodiment.action.scale),
            files={},
            calibration=used,
            losses=self._losses(recipe),
            sensitivity=self._sensitivity,
            head_tokens=None if self._source.head_tokens is None else HEAD_TOKENS,
            fast=None if fast is None else fast.settings,
        )


def _recipe(request: Request) -> Recipe:
    """The recipe asked for; ``auto`` begins with fp16."""
    limit = request.max_action_error
    if request.precision == AUTO and (limit is None or not 0 < limit < 1):
        raise ConfigError(
            f"--precision auto with --max-action-error {limit}",
            expected="the relative L2 error that the final chunk may have, between 0 and 1",
            fix="for example --max-action-error 0.02",
        )
    if request.precision == AUTO and request.fast is not None:
        raise ConfigError("--precision auto with --fast", expected="a recipe: auto measures flow chunks")
    if request.precision != AUTO and limit is not None:
        raise ConfigError(f"--max-action-error {limit}", expected="--precision auto beside it")
    return load_recipe("fp16" if request.precision == AUTO else request.precision)


def _samples(request: Request, recipe: Recipe, source: Source) -> SampleSet | None:
    if not recipe.calibrated() and request.precision != AUTO:
        return None
    if request.calibration is None:
        raise ConfigError(
            f"--precision {request.precision} without calibration data",
            expected="--calibration FOLDER: a recorded session or a LeRobot dataset",
            fix="record one with 'wall-edge run ROBOT.yaml --record FOLDER'",
        )
    chosen = source.settings
    return load_samples(
        request.calibration,
        embodiment=chosen.embodiment,
        cameras=chosen.cameras,
        horizon=chosen.horizon,
        action_rate_hz=chosen.action_rate_hz,
        count=request.samples + 1,  # the last one is for the goldens
    )


def _key(source: Source, recipe: Recipe, request: Request, data: SampleSet | None) -> str:
    """What a workspace's finished steps are good for."""
    used: Mapping[str, object] = {
        "format": _FORMAT,
        "source": source.fingerprint(),
        "recipe": recipe.as_dict(),
        "auto": request.max_action_error,
        "samples": None if data is None else (data.sha256, len(data.samples)),
    }
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()
