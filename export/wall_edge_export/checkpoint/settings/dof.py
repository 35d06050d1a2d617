"""Which degrees of freedom a checkpoint names, and which of the model's slots each of them takes.

Upstream (github.com/X-Square-Robot/wall-x) keeps the model's layout in ``dof_config`` and
``agent_pos_config``. A fine-tune's ``config.yml`` has the last word of both, as ``config.json`` is its
base's (1.1, ``update_model_config``). A fine-tune for a smaller robot names the robot's own in
``customized_robot_config``; its data fill the first slots and the rest is padding
(``wall_x/data/load_lerobot_dataset.py``). Later versions name the padding, ``action_padding``, which takes
the last slots wherever it is listed (1.1, ``harrix/utils/train_config.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wall_edge.checks import MAX_SLOTS
from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import is_plain_name, shown
from wall_edge_export.checkpoint.settings.training_file import TrainingFile

_PADDING = "action_padding"
_CUSTOMIZED = {"dof_config": "customized_dof_config", "agent_pos_config": "customized_agent_pos_config"}


@dataclass(frozen=True)
class Layout:
    """The robot's degrees of freedom by name, and the model's slot of each."""

    names: tuple[str, ...]
    slots: tuple[int, ...]


@dataclass(frozen=True)
class _CustomRobot:
    name: str | None = None
    customized_dof_config: dict[str, int] | None = None
    customized_agent_pos_config: dict[str, int] | None = None


@dataclass(frozen=True)
class _Training:
    """What is read of a training ``config.yml``, or of ``config.json`` where the same keys are there."""

    dof_config: dict[str, int] | None = None
    agent_pos_config: dict[str, int] | None = None
    customized_robot_config: _CustomRobot | None = None
    enable_customized_robot_config: bool = True

    @property
    def robot_name(self) -> str | None:
        """What the smaller robot's statistics go by, unless it is switched off."""
        robot = self.customized_robot_config
        return None if robot is None or not self.enable_customized_robot_config else robot.name

    def customized(self, key: str) -> dict[str, int] | None:
        """The smaller robot's groups, unless they are switched off."""
        robot = self.customized_robot_config
        if robot is None or not self.enable_customized_robot_config:
            return None
        groups: dict[str, int] | None = getattr(robot, _CUSTOMIZED[key])
        return groups or None


@dataclass(frozen=True)
class Trained:
    """What a checkpoint's files say of the robot that it was trained on; ``robot``: its name, if they do."""

    action: Layout
    state: Layout
    robot: str | None = None


def trained(
    config: dict[str, Any], folder: Path, training: TrainingFile, slots: Callable[[str], int | None]
) -> Trained:
    """Layouts of ``dof_config`` and ``agent_pos_config``, which are completed in ``config``.

    ``slots`` tells the width that the model's tensors have; of several layouts in the files it decides which
    is the model's. Raises :class:`CheckpointError`.
    """
    sections = {key: training.said(key) for key in (f.name for f in fields(_Training))}
    said = {key: value for key, value in sections.items() if value is not None}
    sources = [
        from_mapping(_Training, said, training.where, CheckpointError, strict=False),
        from_mapping(_Training, config, str(folder / "config.json"), CheckpointError, strict=False),
    ]
    action, state = (_layout(config, key, sources, slots) for key in _CUSTOMIZED)
    return Trained(action, state, next((name for source in sources if (name := source.robot_name)), None))


def _layout(
    config: dict[str, Any], key: str, sources: list[_Training], slots: Callable[[str], int | None]
) -> Layout:
    plain = [getattr(source, key) for source in sources]
    custom = [source.customized(key) for source in sources]
    candidates: list[dict[str, int]] = [_padding_last(groups) for groups in (*plain, *custom) if groups]
    if not candidates:
        return Layout((), ())  # the model's shape asks for what is missing, by name
    width = slots(key) if len(candidates) > 1 else None
    model = next((groups for groups in candidates if sum(groups.values()) == width), candidates[0])
    config[key] = model
    robot = next((_padding_last(groups) for groups in custom if groups), model)
    total, room = sum(robot.values()), sum(model.values())
    for group, count in (*model.items(), *robot.items()):
        if not 1 <= count <= MAX_SLOTS or not is_plain_name(group):
            raise CheckpointError(
                f"{key}: {shown(group, 60)} {shown(count, 60)}",
                expected=f"plain names and positive numbers, at most {MAX_SLOTS}",
                fix="take the config that was saved with these weights",
            )
    if room > MAX_SLOTS:
        raise CheckpointError(
            f"{key} sums to {room}",
            expected=f"at most {MAX_SLOTS} degrees of freedom",
            fix="take the config that was saved with these weights",
        )
    if total > room:
        raise CheckpointError(
            f"{_CUSTOMIZED[key]} {robot}",
            expected=f"positive numbers that sum to the model's {room} degrees of freedom at most",
            fix="take the config.yml that was saved with these weights",
        )
    layout = _named(robot)
    if twice := [name for name, count in Counter(layout.names).items() if count > 1]:
        raise CheckpointError(
            f"{key}: two degrees of freedom named {shown(twice[0], 64)}",
            expected="a name for each: those of a larger group are numbered",
            fix="rename a group in config.yml",
        )
    return layout


def _padding_last(groups: Mapping[str, int]) -> dict[str, int]:
    named = {group: count for group, count in groups.items() if group != _PADDING}
    return {**named, **{group: count for group, count in groups.items() if group == _PADDING}}


def _named(groups: Mapping[str, int]) -> Layout:
    """One name a degree of freedom: a group of one keeps its name, larger groups are numbered."""
    names: list[str] = []
    slots: list[int] = []
    start = 0
    for group, count in groups.items():
        if group != _PADDING:
            names += [group] if count == 1 else [f"{group}_{number}" for number in range(count)]
            slots += range(start, start + count)
        start += count
    return Layout(tuple(names), tuple(slots))
