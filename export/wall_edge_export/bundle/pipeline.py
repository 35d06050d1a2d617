"""Checkpoint → bundle: one layer in memory at a time, whole or not at all, resumed when interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from importlib import metadata
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
from wall_edge.bundle.fast_settings import FAST_TOKENIZER
from wall_edge.bundle.second_opinion import SecondOpinion
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, PolicyError
from wall_edge.verification.goldens import golden_inputs, synthetic_observation
from wall_edge.verification.stages import record
from wall_edge.verification.tolerances import tolerances
from wall_edge_export.bundle.options import ExportOptions
from wall_edge_export.bundle.workspace import Workspace, require_room, system_errors, workspace
from wall_edge_export.checkpoint.files import Checkpoint
from wall_edge_export.data.samples import Sample, SampleSet
from wall_edge_export.data.sessions import MIN_SAMPLES
from wall_edge_export.inputs.inputs import ExportInputs
from wall_edge_export.onnx.fp16_range import watched
from wall_edge_export.onnx.graph_writer import GraphWriter
from wall_edge_export.onnx.graphs import GRAPHS, GUIDED
from wall_edge_export.opinion.check import second_opinion
from wall_edge_export.quantize.auto import CANDIDATES, Holdout, Search, Trials, split
from wall_edge_export.quantize.calibrate import Calibrator, PrecisionPlan
from wall_edge_export.quantize.calibrated import Calibrated
from wall_edge_export.quantize.model_input import model_input
from wall_edge_export.quantize.precision import CALIBRATED, Recipe, family, load_recipe
from wall_edge_export.reference.engine import ReferenceEngine
from wall_edge_export.reference.streaming_model import StreamingModel, weight_reader

Progress = Callable[[str], None]
STAGES = ("checkpoint", "second opinion", "calibration", *GRAPHS, GUIDED, "goldens")
_SPARE_BYTES = 256 << 20
"""Room for goldens, scales and graph structure beside the weights."""
_TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "numpy")
_DEFAULT_INSTRUCTION = "do the task."


def export_bundle(
    checkpoint: Checkpoint,
    out: Path,
    robot: RobotConfig | None = None,
    request: ExportOptions = ExportOptions(),  # noqa: B008 - frozen
    progress: Progress = lambda _: None,
) -> Manifest:
    """Write the bundle of ``checkpoint`` to ``out``.

    ``progress`` is told every stage (:data:`STAGES`) and details of it. Raises :class:`CheckpointError`,
    :class:`ConfigError` or :class:`BundleError`.
    """
    progress("checkpoint")
    recipe = request.recipe()
    source = ExportInputs.open(checkpoint, robot, request.vocabulary, request.fast, request.guidance)
    with system_errors(out):
        require_replaceable(out)
        require_room(out, _needed_bytes(source, recipe, request))
        data = request.data(recipe, source)
        instruction = robot.instruction if robot is not None and robot.instruction else _DEFAULT_INSTRUCTION
        key = _key(source, recipe, request, data, instruction)
    progress("second opinion")
    opinion = second_opinion(source, instruction)
    with workspace(out, key) as space:
        if space.resumed:
            progress(f"resuming after {', '.join(space.resumed)}")
        return _Export(source, recipe, request, data, space, progress, opinion).run(instruction)


class _Export:
    """The steps of one export in its workspace."""

    def __init__(
        self,
        source: ExportInputs,
        recipe: Recipe,
        request: ExportOptions,
        data: SampleSet | None,
        space: Workspace,
        progress: Progress,
        opinion: SecondOpinion | None,
    ) -> None:
        self._opinion = opinion
        self._source, self._recipe, self._request, self._data = source, recipe, request, data
        self._space, self._progress = space, progress
        self._graphs = source.given.graphs
        self._sensitivity: tuple[Sensitivity, ...] = ()
        head = None if source.head_tokens is None else source.head_tokens.tolist()
        self._lazy = StreamingModel(source.checkpoint, head)
        tensor = weight_reader(source.checkpoint, head)
        self._writer = GraphWriter(source.checkpoint.shape, source.given, tensor)

    def run(self, instruction: str) -> Manifest:
        """Do what is not done yet; returns the manifest that was written."""
        space = self._space
        space.step("files", self._copy_files)
        self._progress("calibration")
        if any(self._wanted.values()):
            space.step("calibration", self._calibrate)
        if self._request.auto:
            self._choose()
        for graph in self._graphs:
            self._progress(graph)
            space.step(graph, lambda graph=graph: self._write(graph))  # type: ignore[misc]
        self._progress("goldens")
        space.step("goldens", lambda: self._goldens(instruction))
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

    @cached_property
    def _moments(self) -> tuple[list[Sample], Holdout]:
        """What calibrates; and for ``auto`` what judges. The last moment of the data is for the goldens."""
        samples = list(self._data.samples) if self._data is not None else []
        used = samples[:-1] if len(samples) > MIN_SAMPLES else samples
        return split(used) if self._request.auto else (used, Holdout((), ()))

    @cached_property
    def _wanted(self) -> PrecisionPlan:
        """The precisions to calibrate for, by graph and family."""
        if self._request.auto:
            return CANDIDATES
        return {
            graph: {name: (p,) for name, p in self._recipe.families(graph).items() if p in CALIBRATED}
            for graph in self._graphs
        }

    def _calibrate(self) -> dict[str, str]:
        manifest = self._manifest(self._recipe)
        inputs = [model_input(sample, manifest, self._source) for sample in self._moments[0]]
        calibrator = Calibrator(self._lazy, self._source.given, self._wanted)
        with watched(self._lazy.model, self._recipe):
            found = calibrator.run(inputs, self._progress)
        digests = {}
        for graph, calibrated in found.items():
            path = self._calibrated_path(graph)
            calibrated.save(path)
            digests[str(path.relative_to(self._space.folder))] = file_digest(path)
        return digests

    def _calibrated_path(self, graph: str) -> Path:
        return self._space.scratch / f"calibrated-{graph}.npz"

    def _calibrated(self, graph: str) -> Calibrated:
        path = self._calibrated_path(graph)
        return Calibrated.load(path) if path.is_file() else Calibrated()

    def _choose(self) -> None:
        """A recipe within the error that is allowed; found once, and kept for a rerun."""
        path = self._space.scratch / "auto.json"

        def choose() -> dict[str, str]:
            assert self._request.max_action_error is not None
            calibrated = {graph: self._calibrated(graph) for graph in CANDIDATES}
            folder = self._space.scratch / "trials"
            trials = Trials(self._writer, calibrated, self._manifest, self._source.prompts, folder)
            search = Search(trials, self._cost, self._request.max_action_error, self._progress)
            found = search.run(self._moments[1])
            shutil.rmtree(folder)
            ranking = [asdict(entry) for entry in found.sensitivity]
            path.write_text(json.dumps({"recipe": found.recipe.as_dict(), "sensitivity": ranking}))
            return {str(path.relative_to(self._space.folder)): file_digest(path)}

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
        inputs = golden_inputs(synthetic_observation(manifest), instruction, manifest)
        if self._data is not None:
            moment = self._data.samples[-1]
            inputs = golden_inputs(moment.observation, moment.words, manifest)
        engine = ReferenceEngine(self._lazy.model, self._source.given)
        try:
            with watched(self._lazy.model, self._recipe):
                outputs = record(manifest, self._source.prompts, engine, inputs)
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
        made = []
        for graph in self._graphs:
            path = self._calibrated_path(graph)
            found = Calibrated.load_losses(path) if path.is_file() else {}
            for name, precision in recipe.families(graph).items():
                layers = {w: e for (w, p), e in found.items() if p == precision and family(graph, w) == name}
                if layers:
                    worst = max(layers, key=lambda layer: layers[layer])
                    mean = sum(layers.values()) / len(layers)
                    made.append(FamilyLoss(graph, name, precision, mean, layers[worst], worst))
        return tuple(made)

    def _manifest(self, recipe: Recipe) -> Manifest:
        """The manifest of ``recipe``'s graphs, without the files' digests."""
        chosen, data, fast = self._source.settings, self._data, self._source.fast
        used = None
        if data is not None and any(self._wanted.values()):
            used = CalibrationRecord(data.name, data.sha256, len(self._moments[0]))
        families = {graph: recipe.families(graph) for graph in self._graphs}
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
            graphs={graph: self._writer.spec(graph, own) for graph, own in families.items()},
            tolerances=tolerances(families, chosen.embodiment),
            files={},
            calibration=used,
            second_opinion=self._opinion,
            losses=self._losses(recipe),
            sensitivity=self._sensitivity,
            head_tokens=None if self._source.head_tokens is None else HEAD_TOKENS,
            fast=None if fast is None else fast.settings,
            prompt_wording=chosen.wording,
        )


def _not_finite(manifest: Manifest, name: str) -> CheckpointError:
    return CheckpointError(
        f"{manifest.source.checkpoint}: its weights give {name} that are not finite",
        expected="finite values",
        fix="copy or download the checkpoint again",
    )


def _needed_bytes(source: ExportInputs, recipe: Recipe, request: ExportOptions) -> int:
    """What the bundle takes on the disk at most, and what calibration keeps beside it."""
    # ``auto`` keeps a second set of graphs, one of them in float32, and 4-bit weights to choose from.
    recipes = (load_recipe("fp32"), recipe) if request.auto else (recipe,)
    kept = source.int4_scratch_bytes(load_recipe("int4-weights") if request.auto else recipe)
    return sum(sum(source.graph_bytes(one).values()) for one in recipes) + kept + _SPARE_BYTES


def _key(
    source: ExportInputs, recipe: Recipe, request: ExportOptions, data: SampleSet | None, instruction: str
) -> str:
    """What a workspace's finished steps are good for."""
    used = {
        "source": source.fingerprint(),
        "recipe": recipe.as_dict(),
        "auto": (request.auto, request.max_action_error),
        "samples": None if data is None else (data.sha256, len(data.samples), request.sample_count),
        "instruction": instruction,
        "code": _code_digest(),
        "tools": {name: metadata.version(name) for name in _TOOLS},
    }
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


def _code_digest() -> str:
    """SHA-256 over the exporter's own sources: newer code never continues what older code began."""
    return file_digest(*sorted(Path(__file__).parents[1].rglob("*.py")))
