"""A policy that LeRobot saved: what its ``config.json`` and its processors say beside the weights.

Formats and arithmetic are those of lerobot 0.4.4: ``policies/wall_x`` (configuration, padding of slots) and
``processor/normalize_processor.py`` (normalisation; its ``eps`` is in the saved step). The architecture and
the tokenizer are not among its files: they are the base model's, ``pretrained_name_or_path``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import is_plain_name, shown
from wall_edge_export.checkpoint.scaling import Range, Scaling
from wall_edge_export.checkpoint.weights import read_header, read_json
from wall_edge_export.model.shapes import MAX_SLOTS

TYPE = "wall_x"
STATE, ACTION = "observation.state", "action"
_IMAGES = "observation.images."
_INTEGRATION_STEPS = 10  # LeRobot passes none, and this is its default

# What may stand in a pipeline without changing a number that the model sees or gives.
_NEUTRAL = (
    "rename_observations_processor",
    "to_batch_processor",
    "wall_x_task_processor",
    "device_processor",
)
_NORMALIZER, _UNNORMALIZER = "normalizer_processor", "unnormalizer_processor"
_RANGES = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
_IN_UNITS = ("min", "max", "mean", "q01", "q10", "q50", "q90", "q99")
"""Statistics that are values of the data; a std is none."""
_IDENTITY = "IDENTITY"
_MODES = (_IDENTITY, "MEAN_STD", *_RANGES)

Statistics = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class _Feature:
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Config:
    input_features: dict[str, _Feature]
    output_features: dict[str, _Feature]
    chunk_size: int = 32
    max_action_dim: int = 20
    max_state_dim: int = 20
    n_obs_steps: int = 1
    prediction_mode: str = "diffusion"
    pretrained_name_or_path: str = "x-square-robot/wall-oss-flow"
    recipe_path: str | None = None
    recipe: Any = None

    def __post_init__(self) -> None:
        for key in ("max_action_dim", "max_state_dim"):
            if not 1 <= getattr(self, key) <= MAX_SLOTS:
                raise Invalid(key, getattr(self, key), expected=f"1 to {MAX_SLOTS}")
        if self.recipe_path or self.recipe:  # of LeRobot's later versions
            raise Invalid("recipe", self.recipe_path or self.recipe, expected="none: prompts of wall_x alone")


@dataclass(frozen=True)
class _Step:
    registry_name: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    state_file: str | None = None


@dataclass(frozen=True)
class _Pipeline:
    steps: tuple[_Step, ...]


@dataclass(frozen=True)
class _Normalizer:
    """The saved settings of a (un)normaliser step."""

    features: dict[str, _Feature]
    norm_map: dict[str, str]
    eps: float = 1e-8
    normalize_observation_keys: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.eps <= 1e-2:
            raise Invalid("eps", self.eps, expected="more than 0, at most 0.01")


class LeRobotPolicy:
    """The policy folder's settings. Raises :class:`CheckpointError` for what is missing or not supported."""

    integration_steps = _INTEGRATION_STEPS

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        where = str(folder / "config.json")
        self._config = from_mapping(_Config, config, where, CheckpointError, strict=False)
        if self._config.n_obs_steps != 1 or not 1 <= self._config.chunk_size <= 1024:
            what = f"n_obs_steps {self._config.n_obs_steps}, chunk_size {self._config.chunk_size}"
            raise self._wrong(what, "one observation and 1 to 1024 actions")
        self.state_dof = self._width(self._config.input_features, STATE, self._config.max_state_dim)
        self.action_dof = self._width(self._config.output_features, ACTION, self._config.max_action_dim)

    @property
    def base(self) -> str:
        """The Hub id or path of the model that the policy was trained from."""
        return self._config.pretrained_name_or_path

    @property
    def horizon(self) -> int:
        return self._config.chunk_size

    @property
    def predicts_flow(self) -> bool:
        """Whether actions come from the flow head, not as FAST tokens."""
        return self._config.prediction_mode == "diffusion"

    @property
    def slots(self) -> tuple[int, int]:
        """Width of the model's action and state, which LeRobot pads with masked zeros at the end."""
        return self._config.max_action_dim, self._config.max_state_dim

    def cameras(self) -> dict[str, tuple[int, int]]:
        """Width and height [pixels] of each camera, in the order of the prompt."""
        sizes = {}
        for key, feature in self._config.input_features.items():
            if feature.type == "VISUAL":
                if len(feature.shape) != 3 or feature.shape[0] != 3:
                    raise self._wrong(f"{key} has shape {list(feature.shape)}", "[3, height, width]")
                sizes[key.removeprefix(_IMAGES)] = (feature.shape[2], feature.shape[1])
        return sizes

    def files(self) -> list[Path]:
        """What the embodiment depends on: the settings, the processors and their statistics."""
        beside = sorted(self.folder.glob("policy_*processor*"))
        return [self.folder / "config.json", *(path for path in beside if path.is_file())]

    def normalizations(self) -> tuple[Scaling, Scaling]:
        """Of the state and of the actions, in the dataset's own units; LeRobot clips neither."""
        state = self._normalization("policy_preprocessor", _NORMALIZER, STATE, self.state_dof)
        action = self._normalization("policy_postprocessor", _UNNORMALIZER, ACTION, self.action_dof)
        return state, action

    def ranges(self) -> dict[str, Range]:
        """Smallest and largest value that the statistics of the state and of the actions have seen, by key.

        In the dataset's own units; a key is left out where nothing says.
        """
        ranges: dict[str, Range] = {}
        for pipeline, name, key, dof in (
            ("policy_preprocessor", _NORMALIZER, STATE, self.state_dof),
            ("policy_postprocessor", _UNNORMALIZER, ACTION, self.action_dof),
        ):
            step = self._step(pipeline, name)
            if step.state_file is not None:
                statistics = self._statistics(self.folder / f"{pipeline}.json", step, key)
                values = [
                    statistics[kind]
                    for kind in _IN_UNITS
                    if kind in statistics and statistics[kind].shape == (dof,)
                ]
                if values:
                    ranges[key] = np.min(values, axis=0), np.max(values, axis=0)
        return ranges

    def _normalization(self, pipeline: str, name: str, key: str, dof: int) -> Scaling:
        step = self._step(pipeline, name)
        where = self.folder / f"{pipeline}.json"
        normalizer = from_mapping(_Normalizer, step.config, str(where), CheckpointError, strict=False)
        mode = normalizer.norm_map.get("ACTION", _IDENTITY) if key == ACTION else _state_mode(normalizer)
        if normalizer.norm_map.get("VISUAL", _IDENTITY) != _IDENTITY:
            what = f"{where}: pixels are normalised by {shown(normalizer.norm_map['VISUAL'])}"
            raise CheckpointError(what, expected="VISUAL: IDENTITY, as wall_x is trained")
        if mode not in _MODES:
            raise CheckpointError(
                f"{where}: normalisation {shown(repr(mode))} of {key}", expected=f"one of {', '.join(_MODES)}"
            )
        statistics = {} if mode == _IDENTITY else self._statistics(where, step, key)
        try:
            return affine(mode, statistics, normalizer.eps, dof, restores=key == ACTION)
        except ValueError as problem:
            raise CheckpointError(
                f"{where}: {key} is normalised by {mode}, its statistics: {problem}",
                expected=f"{dof} finite numbers of each",
                fix="take the processor files that were saved with these weights",
            ) from problem

    def _step(self, pipeline: str, name: str) -> _Step:
        """The one (un)normaliser of a pipeline; every other step must be known to change no number."""
        path = self.folder / f"{pipeline}.json"
        raw = read_json(path, "the processors that LeRobot saves beside the weights")
        steps = from_mapping(_Pipeline, raw, str(path), CheckpointError, strict=False).steps
        odd = [step.registry_name for step in steps if step.registry_name not in (*_NEUTRAL, name)]
        if odd:
            raise CheckpointError(
                f"{path}: step {shown(odd[0] or 'of a class of its own')}",
                expected=f"{name} and {', '.join(_NEUTRAL)}",
                fix="a step that changes what the model sees or gives is not supported yet",
            )
        matches = [step for step in steps if step.registry_name == name]
        if len(matches) != 1:
            raise CheckpointError(f"{path}: {len(matches)} steps {name}", expected="one")
        return matches[0]

    def _statistics(self, where: Path, step: _Step, key: str) -> Statistics:
        file = step.state_file or ""
        if not is_plain_name(file) or Path(file).name != file:
            raise CheckpointError(
                f"{where}: state_file {file[:60]!r}", expected="a safetensors file beside it"
            )
        stored = read_header(self.folder / file)
        return {
            name.rpartition(".")[2]: tensor.read().double().flatten().numpy()
            for name, tensor in stored.items()
            if name.rpartition(".")[0] == key
        }

    def _width(self, features: Mapping[str, _Feature], key: str, slots: int) -> int:
        feature = features.get(key)
        if feature is None or len(feature.shape) != 1 or not 1 <= feature.shape[0] <= slots:
            what = "is missing" if feature is None else f"has shape {list(feature.shape)}"
            raise self._wrong(f"feature {key} {what}", f"one axis of 1 to {slots} degrees of freedom")
        return feature.shape[0]

    def _wrong(self, what: str, expected: str) -> CheckpointError:
        fix = "export a wall_x policy as lerobot 0.4.4 saves it"
        return CheckpointError(f"{self.folder / 'config.json'}: {what}", expected=expected, fix=fix)


def _state_mode(normalizer: _Normalizer) -> str:
    """How the state is normalised: only features that the step lists are, and keys may narrow that down."""
    feature, only = normalizer.features.get(STATE), normalizer.normalize_observation_keys
    if feature is None or (only is not None and STATE not in only):
        return _IDENTITY
    return normalizer.norm_map.get(feature.type, _IDENTITY)


def affine(mode: str, statistics: Statistics, eps: float, dof: int, *, restores: bool) -> Scaling:
    """LeRobot's rule for ``mode`` as an offset and a scale; raises ValueError on unfit statistics.

    Normalising by mean and standard deviation divides by ``std + eps``, but restoring multiplies by ``std``
    alone, so the two directions differ. A range that is empty counts as ``eps``.
    """
    if mode == _IDENTITY:
        return Scaling(np.zeros(dof), np.ones(dof))
    low, high = (_values(statistics, name, dof) for name in _RANGES.get(mode, ("mean", "std")))
    if mode == "MEAN_STD":
        # Where nothing ever moved LeRobot restores the mean; eps does too, and can be divided by.
        offset, scale = low, np.where(high == 0, eps, high) if restores else high + eps
    else:
        span = np.where(high == low, eps, high - low)
        offset, scale = low + span / 2, span / 2
    if not np.all(np.isfinite(offset)) or not np.all(scale > 0) or not np.all(np.isfinite(scale)):
        raise ValueError(f"spread {scale.tolist()}")
    return Scaling(offset, scale)


def _values(statistics: Statistics, name: str, dof: int) -> npt.NDArray[np.float64]:
    values = statistics.get(name)
    if values is None:
        raise ValueError(f"no {name}")
    if values.shape != (dof,) or not np.all(np.isfinite(values)):
        raise ValueError(f"{name} {values.tolist()}")
    return values
