"""The processors that LeRobot saves beside a policy's weights: which steps they have, and their
statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.checks import MAX_SLOTS
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import is_plain_name, shown
from wall_edge_export.checkpoint.lerobot.kinds import WALL_OSS_05, WALL_X
from wall_edge_export.checkpoint.weights import read_header, read_json

NORMALIZER, UNNORMALIZER = "normalizer_processor", "unnormalizer_processor"
_CLAMP, _PAD = "wall_oss_05_clamp_normalized", "wall_oss_05_pad_state"
_COMMON = ("rename_observations_processor", "to_batch_processor", "device_processor")
_NEUTRAL: Mapping[str, tuple[str, ...]] = {
    WALL_X: (*_COMMON, "wall_x_task_processor"),
    WALL_OSS_05: (
        *_COMMON,
        "wall_oss_05_task_passthrough",
        _PAD,
        "wall_oss_05_pad_action",
        _CLAMP,
        "wall_oss_05_crop_action",
        "wall_oss_05_tokenizer",
        "render_messages_processor",
    ),
}
"""By type, what may stand in a pipeline without changing a number that is not accounted for: ``wall_oss_05``
fills the state up with zeros before it is normalised and clamps it after, cuts actions to the robot's, and
renders messages where it trains."""

Statistics = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Step:
    """One step of a pipeline, as it is saved."""

    registry_name: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    state_file: str | None = None


@dataclass(frozen=True)
class _Pipeline:
    steps: tuple[Step, ...]


def normalizer_step(path: Path, kind: str, name: str, expected: Mapping[str, object]) -> Step:
    """The one (un)normaliser of a pipeline; every other step must be known to change no number.

    ``expected``: what settings of steps must be where they are there, as the policy says them. Raises
    :class:`CheckpointError`.
    """
    raw = read_json(path, "the processors that LeRobot saves beside the weights")
    steps = from_mapping(_Pipeline, raw, str(path), CheckpointError, strict=False).steps
    neutral = _NEUTRAL[kind]
    odd = [step.registry_name for step in steps if step.registry_name not in (*neutral, name)]
    if odd:
        raise CheckpointError(
            f"{path}: step {shown(odd[0] or 'of a class of its own')}",
            expected=f"{name} and {', '.join(neutral)}",
            fix="a step that changes what the model sees or gives is not supported yet",
        )
    matches = [step for step in steps if step.registry_name == name]
    if len(matches) != 1:
        raise CheckpointError(f"{path}: {len(matches)} steps {name}", expected="one")
    for step in steps:
        for key, value in expected.items():
            if step.config.get(key, value) != value:
                raise CheckpointError(
                    f"{path}: {step.registry_name}.{key} is {shown(step.config[key], 60)}",
                    expected=f"{shown(value, 200)}, as the policy's config.json says",
                )
    if kind == WALL_OSS_05 and name == NORMALIZER:
        _check_order(path, [step.registry_name for step in steps])
    return matches[0]


def _check_order(path: Path, names: Sequence[str | None]) -> None:
    """Zeros are put in before the state is normalised (by LeRobot itself where no step does), and it is
    clamped after that: bins are of [-1, 1]."""
    at = names.index(NORMALIZER)
    if _CLAMP not in names[at:] or _PAD in names[at:]:
        raise CheckpointError(
            f"{path}: steps {shown(', '.join(map(str, names)), 400)}",
            expected=f"{_PAD} before {NORMALIZER}, and {_CLAMP} after it",
        )


def stored_statistics(folder: Path, where: Path, step: Step, key: str) -> Statistics:
    """The statistics of a step's file, of one feature, by name. Raises :class:`CheckpointError`."""
    file = step.state_file or ""
    if not is_plain_name(file) or Path(file).name != file:
        raise CheckpointError(f"{where}: state_file {file[:60]!r}", expected="a safetensors file beside it")
    stored = read_header(folder / file)
    return {
        name.rpartition(".")[2]: tensor.read_few(MAX_SLOTS).double().flatten().numpy()
        for name, tensor in stored.items()
        if name.rpartition(".")[0] == key
    }
