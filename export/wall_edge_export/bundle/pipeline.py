"""Checkpoint → bundle: one layer in memory at a time, whole or not at all, resumed when interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from wall_edge.bundle import (
    FORMAT_VERSION,
    GOLDENS,
    HEAD_TOKENS,
    TOKENIZER,
    CalibrationRecord,
    FamilyLoss,
    KeysValues,
    Manifest,
    SecondOpinion,
    Sensitivity,
    file_digest,
    require_replaceable,
    write_manifest,
)
from wall_edge.bundle import Source as SourceRecord
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, PolicyError
from wall_edge.session_format import Sample
from wall_edge.verification.goldens import golden_inputs, synthetic_observation
from wall_edge.verification.stages import record
from wall_edge.verification.tolerances import tolerances
from wall_edge_export.bundle.options import ExportOptions
from wall_edge_export.bundle.resume_key import resume_key
from wall_edge_export.bundle.workspace import Workspace, require_room, system_errors, workspace
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.data.samples import MIN_SAMPLES, SampleSet
from wall_edge_export.inputs.export_inputs import INSTRUCTION, ExportInputs
from wall_edge_export.model.inventory import inventory
from wall_edge_export.onnx.fp16_range import watched
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS, GUIDED
from wall_edge_export.opinion.check import second_opinion
from wall_edge_export.quantize.auto import CANDIDATES, Search, SearchSamples, Trials, candidates, split
from wall_edge_export.quantize.calibrate import Calibrator
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.model_input import model_input
from wall_edge_export.quantize.observer import PrecisionPlan
from wall_edge_export.quantize.precision import CALIBRATED, Recipe
from wall_edge_export.reference.engine import ReferenceEngine
from wall_edge_export.reference.streaming_model import StreamingModel, weight_reader

Progress = Callable[[str], None]
STAGES = ("checkpoint", "second opinion", "calibration", *GRAPHS, GUIDED, "goldens")


def export_bundle(
    checkpoint: Checkpoint,
    out: Path,
    robot: RobotConfig | None = None,
    options: ExportOptions = ExportOptions(),  # noqa: B008 - frozen
    progress: Progress = lambda _: None,
) -> Manifest:
    """Write the bundle of ``checkpoint`` to ``out``.

    ``progress`` is told every stage (:data:`STAGES`) and details of it. Raises :class:`CheckpointError`,
    :class:`ConfigError` or :class:`BundleError`.
    """
    progress("checkpoint")
    recipe = options.recipe()
    inputs = ExportInputs.open(checkpoint, robot, options.vocabulary, options.fast, options.guidance)
    with system_errors(out):
        require_replaceable(out)
        require_room(out, options.disk_bytes(inputs, recipe))
        data = options.data(recipe, inputs)
        instruction = robot.instruction if robot is not None and robot.instruction else INSTRUCTION
        key = resume_key(inputs, recipe, options, data, instruction)
    progress("second opinion")
    opinion = second_opinion(inputs, instruction)
    with workspace(out, key) as space:
        if space.resumed:
            progress(f"resuming after {', '.join(space.resumed)}")
        return _Export(inputs, recipe, options, data, space, progress, opinion).run(instruction)


class _Export:
    """The steps of one export in its workspace."""

    def __init__(
        self,
        inputs: ExportInputs,
        recipe: Recipe,
        options: ExportOptions,
        data: SampleSet | None,
        space: Workspace,
        progress: Progress,
        opinion: SecondOpinion | None,
    ) -> None:
        self._opinion = opinion
        self._inputs, self._recipe, self._options, self._data = inputs, recipe, options, data
        self._space, self._progress = space, progress
        self._graphs = inputs.graph_inputs.graphs
        self._sensitivity: tuple[Sensitivity, ...] = ()
        head = None if inputs.head_tokens is None else inputs.head_tokens.tolist()
        self._streaming = StreamingModel(inputs.checkpoint, head)
        tensor = weight_reader(inputs.checkpoint, head)
        self._writer = GraphWriter(inputs.checkpoint.shape, inputs.graph_inputs, tensor)

    def run(self, instruction: str) -> Manifest:
        """Do what is not done yet; returns the manifest that was written."""
        space = self._space
        space.step("files", self._copy_files)
        self._progress("calibration")
        if any(self._plan.values()):
            space.step("calibration", self._calibrate)
        if self._options.auto:
            self._search()
        for graph in self._graphs:
            self._progress(graph)
            space.step(graph, lambda graph=graph: self._write(graph))  # type: ignore[misc]
        self._progress("goldens")
        space.step("goldens", lambda: self._goldens(instruction))
        manifest = replace(self._manifest(self._recipe), files=space.digests())
        write_manifest(space.folder, manifest)
        return manifest

    def _copy_files(self) -> dict[str, str]:
        folder, head = self._space.folder, self._inputs.head_tokens
        shutil.copyfile(self._inputs.checkpoint.tokenizer, folder / TOKENIZER)
        names = [TOKENIZER]
        if head is not None:
            np.save(folder / HEAD_TOKENS, head)
            names.append(HEAD_TOKENS)
        for name, path in self._inputs.actions.files.items():
            shutil.copyfile(path, folder / name)
            names.append(name)
        return {name: file_digest(folder / name) for name in names}

    @cached_property
    def _samples(self) -> tuple[list[Sample], SearchSamples]:
        """What calibrates, and what ``auto`` searches on. The last sample of the data is for the goldens."""
        samples = list(self._data.samples) if self._data is not None else []
        calibration = samples[:-1] if len(samples) > MIN_SAMPLES else samples
        return split(calibration) if self._options.auto else (calibration, SearchSamples((), ()))

    @cached_property
    def _plan(self) -> PrecisionPlan:
        """The precisions to calibrate for, by graph and family."""
        if self._options.auto:
            return candidates(inventory(self._streaming.model))
        return {
            graph: {name: (p,) for name, p in self._recipe.families(graph).items() if p in CALIBRATED}
            for graph in self._graphs
        }

    def _calibrate(self) -> dict[str, str]:
        manifest = self._manifest(self._recipe)
        inputs = [model_input(sample, manifest, self._inputs) for sample in self._samples[0]]
        calibrator = Calibrator(self._streaming, self._inputs.graph_inputs, self._plan)
        with watched(self._streaming.model, self._recipe):
            results = calibrator.run(inputs, self._progress)
        digests = {}
        for graph, calibrated in results.items():
            path = self._calibrated_path(graph)
            calibrated.save(path)
            digests[str(path.relative_to(self._space.folder))] = file_digest(path)
        return digests

    def _calibrated_path(self, graph: str) -> Path:
        return self._space.scratch / f"calibrated-{graph}.npz"

    def _calibrated(self, graph: str) -> Calibrated:
        path = self._calibrated_path(graph)
        return Calibrated.load(path) if path.is_file() else Calibrated()

    def _search(self) -> None:
        """A recipe within the error that is allowed; searched for once, and kept for a rerun."""
        path = self._space.scratch / "auto.json"

        def search() -> dict[str, str]:
            assert self._options.max_action_error is not None
            calibrated = {graph: self._calibrated(graph) for graph in CANDIDATES}
            folder = self._space.scratch / "trials"
            trials = Trials(self._writer, calibrated, self._manifest, self._inputs.prompts, folder)
            limit, plan = self._options.max_action_error, self._plan
            auto = Search(trials, self._cost, limit, self._progress, plan)
            result = auto.run(self._samples[1])
            shutil.rmtree(folder)
            ranking = [asdict(entry) for entry in result.sensitivity]
            path.write_text(json.dumps({"recipe": result.recipe.as_dict(), "sensitivity": ranking}))
            return {str(path.relative_to(self._space.folder)): file_digest(path)}

        self._space.step("auto", search)
        stored = json.loads(path.read_text())
        self._recipe = Recipe.from_dict(stored["recipe"])
        self._sensitivity = tuple(Sensitivity(**entry) for entry in stored["sensitivity"])

    def _cost(self, recipe: Recipe) -> int:
        """Bytes that one action chunk reads: the expert once an integration step."""
        sizes = self._inputs.graph_bytes(recipe)
        steps = len(self._inputs.settings.time_grid) - 1
        return sizes["vision"] + sizes["prefix"] + steps * sizes["expert"]

    def _write(self, graph: str) -> dict[str, str]:
        return self._writer.write(graph, self._recipe, self._space.folder, self._calibrated(graph))

    def _goldens(self, instruction: str) -> dict[str, str]:
        manifest = self._manifest(self._recipe)
        inputs = golden_inputs(synthetic_observation(manifest), instruction, manifest)
        if self._data is not None:
            sample = self._data.samples[-1]
            inputs = golden_inputs(sample.observation, sample.words, manifest)
        engine = ReferenceEngine(self._streaming.model, self._inputs.graph_inputs)
        try:
            with watched(self._streaming.model, self._recipe):
                outputs = record(manifest, self._inputs.prompts, engine, inputs)
        except PolicyError as error:  # not even a word could be said
            raise _not_finite(manifest, "logits") from error
        for name, values in outputs.items():
            if not np.all(np.isfinite(values)):
                raise _not_finite(manifest, name)
        path = self._space.folder / GOLDENS
        np.savez(path, **inputs, **outputs)  # type: ignore[arg-type]
        return {GOLDENS: file_digest(path)}

    def _losses(self, recipe: Recipe) -> tuple[FamilyLoss, ...]:
        """What calibration saw each quantised layer family lose."""
        losses, weights = [], inventory(self._streaming.model)
        for graph in self._graphs:
            path = self._calibrated_path(graph)
            layer_losses = Calibrated.load_losses(path) if path.is_file() else {}
            for name, precision in recipe.families(graph).items():
                layers = {
                    w: e for (w, p), e in layer_losses.items() if p == precision and weights[w].family == name
                }
                if layers:
                    worst = max(layers, key=lambda layer: layers[layer])
                    mean = sum(layers.values()) / len(layers)
                    losses.append(FamilyLoss(graph, name, precision, mean, layers[worst], worst))
        return tuple(losses)

    def _manifest(self, recipe: Recipe) -> Manifest:
        """The manifest of ``recipe``'s graphs, without the files' digests."""
        settings, data, actions = self._inputs.settings, self._data, self._inputs.actions.stored
        calibration = None
        if data is not None and any(self._plan.values()):
            calibration = CalibrationRecord(data.name, data.sha256, len(self._samples[0]))
        families = {graph: recipe.families(graph) for graph in self._graphs}
        specs = {graph: self._writer.spec(graph, recipe) for graph in self._graphs}
        return Manifest(
            format_version=FORMAT_VERSION,
            source=SourceRecord(self._inputs.checkpoint.folder.resolve().name, self._inputs.sha256),
            embodiment=settings.embodiment,
            cameras=settings.cameras,
            actions=actions,
            horizon=settings.horizon,
            action_rate_hz=settings.action_rate_hz,
            max_prompt_tokens=self._inputs.max_prompt_tokens,
            recipe=recipe.name,
            graphs=specs,
            keys_values=KeysValues(specs["prefix"].inputs["past_kv"].dtype),
            tolerances=tolerances(families, settings.embodiment, type(actions)),
            files={},
            calibration=calibration,
            second_opinion=self._opinion,
            losses=self._losses(recipe),
            sensitivity=self._sensitivity,
            head_tokens=None if self._inputs.head_tokens is None else HEAD_TOKENS,
            prompt_wording=settings.wording,
            prompt_action_space=settings.action_space,
            state_text=settings.state_text,
            family=self._inputs.checkpoint.shape.family,
        )


def _not_finite(manifest: Manifest, name: str) -> CheckpointError:
    return CheckpointError(
        f"{manifest.source.checkpoint}: its weights give {name} that are not finite",
        expected="finite values",
        fix="copy or download the checkpoint again",
    )
