"""A policy that LeRobot saved: what its ``config.json`` and its processors say beside the weights.

Formats and arithmetic are those of lerobot 0.4.4 (``policies/wall_x``, padding of slots) and of its pull
request 4200 (``policies/wall_oss_05``); normalisation is ``processor/normalize_processor.py``'s, whose
``eps`` is in the saved step. The architecture and the tokenizer of ``wall_x`` are not among its files: they
are the base model's, ``pretrained_name_or_path``. Those of ``wall_oss_05`` are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.checkpoint.lerobot.kinds import (
    ACTION,
    IMAGES,
    STATE,
    WALL_OSS_05,
    WALL_X,
    Feature,
    WallOss05,
    WallX,
    architecture,
)
from wall_edge_export.checkpoint.lerobot.pipelines import (
    NORMALIZER,
    UNNORMALIZER,
    Step,
    normalizer_step,
    stored_statistics,
)
from wall_edge_export.checkpoint.lerobot.rules import IDENTITY, MODES, Normalizer, affine
from wall_edge_export.checkpoint.scaling import Range, Scaling

TYPES = (WALL_X, WALL_OSS_05)
_STEPS_OF_WALL_X = 10  # LeRobot passes none, and this is its default
_IN_UNITS = ("min", "max", "mean", "q01", "q10", "q50", "q90", "q99")
"""Statistics that are values of the data; a std is none."""
_SIDES = (
    ("policy_preprocessor", NORMALIZER, STATE),
    ("policy_postprocessor", UNNORMALIZER, ACTION),
)


class LeRobotPolicy:
    """The policy folder's settings. Raises :class:`CheckpointError` for what is missing or not supported.

    ``state_dof``, ``action_dof``: degrees of freedom that have statistics. Of ``wall_oss_05`` these are all
    of the model's slots: those that a smaller robot lacks hold zeros, which are normalised and said as all
    are, and nothing is masked.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.type = str(config.get("type"))
        read = partial(
            from_mapping, data=config, where=str(folder / "config.json"), error=CheckpointError, strict=False
        )
        self._settings: WallX | WallOss05 = (
            read(cls=WallOss05) if self.type == WALL_OSS_05 else read(cls=WallX)
        )
        action, state = self.slots
        self.state_dof = self._width(self._settings.input_features, STATE, state)
        self.action_dof = self._width(self._settings.output_features, ACTION, action)
        if self.type == WALL_OSS_05:
            self.action_dof, self.state_dof = action, state

    @property
    def base(self) -> str:
        """The Hub id or path of the model that the policy was trained from."""
        return self._settings.pretrained_name_or_path

    @property
    def architecture(self) -> dict[str, Any] | None:
        """The model's settings as upstream has them; None where the policy's files do not say them."""
        settings = self._settings
        if isinstance(settings, WallX) or settings.vlm_config is None:
            return None
        try:
            return architecture(settings, settings.vlm_config)
        except Invalid as problem:
            raise self._wrong(f"{problem.key} is {shown(problem.value, 60)}", problem.expected) from None

    @property
    def horizon(self) -> int:
        return self._settings.chunk_size

    @property
    def integration_steps(self) -> int:
        settings = self._settings
        return _STEPS_OF_WALL_X if isinstance(settings, WallX) else settings.num_inference_timesteps

    @property
    def predicts_flow(self) -> bool:
        """Whether actions come from the flow head, not as FAST or other tokens."""
        return self._settings.predicts_flow

    @property
    def slots(self) -> tuple[int, int]:
        """Width of the model's action and state, which LeRobot fills with zeros at the end."""
        return self._settings.max_action_dim, self._settings.max_state_dim

    def cameras(self) -> dict[str, tuple[int, int]]:
        """Width and height [pixels] of each camera, in the order of the prompt."""
        features = self._settings.input_features
        if isinstance(self._settings, WallX):
            visual = {key: key.removeprefix(IMAGES) for key in features if features[key].type == "VISUAL"}
        else:
            visual = self._settings.camera_key_mapping
        sizes = {}
        for key, name in visual.items():
            shape = features[key].shape if key in features else ()
            if len(shape) != 3 or shape[0] != 3:
                raise self._wrong(f"{shown(key, 100)} has shape {list(shape)}", "[3, height, width]")
            sizes[name] = (shape[2], shape[1])
        return sizes

    def files(self) -> list[Path]:
        """What the embodiment depends on: the settings, the processors and their statistics."""
        beside = sorted(self.folder.glob("policy_*processor*"))
        return [self.folder / "config.json", *(path for path in beside if path.is_file())]

    def normalizations(self) -> tuple[Scaling, Scaling]:
        """Of the state and of the actions, in the dataset's own units; ``wall_oss_05`` clamps the state."""
        state, action = (
            self._normalization(*side, dof)
            for side, dof in zip(_SIDES, (self.state_dof, self.action_dof), strict=True)
        )
        return state, action

    def ranges(self) -> dict[str, Range]:
        """Smallest and largest value that the statistics of the state and of the actions have seen, by key.

        In the dataset's own units; a key is left out where nothing says.
        """
        ranges: dict[str, Range] = {}
        for (pipeline, name, key), dof in zip(_SIDES, (self.state_dof, self.action_dof), strict=True):
            step = self._step(pipeline, name)
            if step.state_file is not None:
                statistics = stored_statistics(self.folder, self.folder / f"{pipeline}.json", step, key)
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
        normalizer = from_mapping(Normalizer, step.config, str(where), CheckpointError, strict=False)
        mode = normalizer.norm_map.get("ACTION", IDENTITY) if key == ACTION else normalizer.state_mode
        if normalizer.norm_map.get("VISUAL", IDENTITY) != IDENTITY:
            what = f"{where}: pixels are normalised by {shown(normalizer.norm_map['VISUAL'])}"
            raise CheckpointError(what, expected=f"VISUAL: IDENTITY, as {self.type} is trained")
        if mode not in MODES:
            raise CheckpointError(
                f"{where}: normalisation {shown(repr(mode))} of {key}", expected=f"one of {', '.join(MODES)}"
            )
        statistics = {} if mode == IDENTITY else stored_statistics(self.folder, where, step, key)
        clip = 1.0 if self.type == WALL_OSS_05 and key == STATE else None
        try:
            return affine(mode, statistics, normalizer.eps, dof, restores=key == ACTION, clip=clip)
        except ValueError as problem:
            raise CheckpointError(
                f"{where}: {key} is normalised by {mode}, its statistics: {problem}",
                expected=f"{dof} finite numbers of each",
                fix="take the processor files that were saved with these weights",
            ) from problem

    def _step(self, pipeline: str, name: str) -> Step:
        expected: dict[str, object] = {}
        if isinstance(self._settings, WallOss05):
            settings = self._settings
            expected = {
                "max_state_dim": settings.max_state_dim,
                "max_action_dim": settings.max_action_dim,
                "chunk_size": settings.chunk_size,
                "camera_key_mapping": settings.camera_key_mapping,
            }
        return normalizer_step(self.folder / f"{pipeline}.json", self.type, name, expected)

    def _width(self, features: Mapping[str, Feature], key: str, slots: int) -> int:
        feature = features.get(key)
        if feature is None or len(feature.shape) != 1 or not 1 <= feature.shape[0] <= slots:
            what = "is missing" if feature is None else f"has shape {list(feature.shape)}"
            raise self._wrong(f"feature {key} {what}", f"one axis of 1 to {slots} degrees of freedom")
        return feature.shape[0]

    def _wrong(self, what: str, expected: str) -> CheckpointError:
        fix = f"export a {self.type} policy as LeRobot saves it"
        return CheckpointError(f"{self.folder / 'config.json'}: {what}", expected=expected, fix=fix)
