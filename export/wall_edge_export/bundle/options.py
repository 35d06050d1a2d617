"""What a bundle shall be made of and how: options checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wall_edge.errors import ConfigError
from wall_edge_export.data.load import load_samples
from wall_edge_export.data.samples import SampleSet
from wall_edge_export.inputs.actions import kind_asked
from wall_edge_export.inputs.export_inputs import ExportInputs
from wall_edge_export.quantize.auto import AUTO, split
from wall_edge_export.quantize.precision import Recipe, load_recipe

DEFAULT_SAMPLES, DEFAULT_AUTO_SAMPLES = 32, 96
_SPARE_BYTES = 256 << 20
"""Room for goldens, scales and graph structure beside the weights."""


@dataclass(frozen=True)
class ExportOptions:
    """The options of an export."""

    precision: str = "fp32"
    """A recipe's name or file, or ``auto``."""
    max_action_error: float | None = None
    """For ``auto``: the relative L2 error of the final chunk that must not be exceeded."""
    calibration: Path | None = None
    """A recorded session or a LeRobot dataset."""
    samples: int | None = None
    """How many are drawn from it to calibrate on (``auto``: and to select and confirm by)."""
    vocabulary: Path | None = None
    """Text file with one subgoal a line: the vocabulary head keeps only the tokens that these need."""
    fast: Path | None = None
    """For a ``wall-oss-fast`` checkpoint: the folder of the FAST tokenizer."""
    guidance: bool = False
    """Add the graph ``guided``, which real-time chunking needs for gradients through the expert."""

    @property
    def auto(self) -> bool:
        return self.precision == AUTO

    @property
    def sample_count(self) -> int:
        return self.samples or (DEFAULT_AUTO_SAMPLES if self.auto else DEFAULT_SAMPLES)

    def recipe(self) -> Recipe:
        """The recipe asked for; ``auto`` begins with bf16. Raises :class:`ConfigError`."""
        limit = self.max_action_error
        if self.auto and (limit is None or not 0 < limit < 1):
            raise ConfigError(
                f"--precision auto with --max-action-error {limit}",
                expected="the relative L2 error that the final chunk may have, between 0 and 1",
                fix="for example --max-action-error 0.03",
            )
        kind = kind_asked(self.fast)
        if self.auto and not kind.integrates:
            raise ConfigError("--precision auto with --fast", expected="a recipe: auto measures flow chunks")
        if self.guidance and not kind.optional_graphs:
            raise ConfigError(
                f"--guidance with --{kind.title.lower()}",
                expected=f"a flow policy: {kind.title} actions are words, and have no flow to guide",
                fix="leave out --guidance",
            )
        if not self.auto and limit is not None:
            raise ConfigError(f"--max-action-error {limit}", expected="--precision auto beside it")
        if self.samples is not None and self.calibration is None:
            raise ConfigError(f"--samples {self.samples}", expected="--calibration FOLDER beside it")
        return load_recipe("bf16" if self.auto else self.precision)

    def disk_bytes(self, inputs: ExportInputs, recipe: Recipe) -> int:
        """What the bundle takes on the disk at most, and what calibration keeps beside it."""
        # ``auto`` keeps a second set of graphs, one of them in float32, and 4-bit weights to choose from.
        recipes = (load_recipe("fp32"), recipe) if self.auto else (recipe,)
        scratch = inputs.int4_scratch_bytes(load_recipe("int4-weights") if self.auto else recipe)
        return sum(sum(inputs.graph_bytes(one).values()) for one in recipes) + scratch + _SPARE_BYTES

    def data(self, recipe: Recipe, inputs: ExportInputs) -> SampleSet | None:
        """The calibration data, one sample more than asked for; None without any."""
        if self.calibration is None:
            if self.auto or recipe.calibrated(inputs.graph_inputs.graphs):
                raise ConfigError(
                    f"--precision {self.precision} without calibration data",
                    expected="--calibration FOLDER: a recorded session or a LeRobot dataset",
                    fix="record one with 'wall-edge run ROBOT.yaml --record FOLDER'",
                )
            return None
        settings = inputs.settings
        data = load_samples(
            self.calibration,
            embodiment=settings.embodiment,
            cameras=settings.cameras,
            horizon=settings.horizon,
            action_rate_hz=settings.action_rate_hz,
            count=self.sample_count + 1,
        )
        if self.auto:
            split(data.samples[:-1])  # too few are refused before anything is made
        return data
