"""What a checkpoint's files say of how its policy was trained and is to be asked: times, horizon, the
state's form.

Sources: github.com/X-Square-Robot/wall-x 1.1 (``noise_scheduler``, ``harrix/utils/train_config.py``) and
LeRobot's ``wall_oss_05``, which agree but for the number of bins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from wall_edge.bundle import MAX_HORIZON, StateText, TimeSchedule
from wall_edge.checks import between
from wall_edge.config import ModelConfig, RobotConfig
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge_export.checkpoint.outline import Outline
from wall_edge_export.checkpoint.settings.training_file import TrainingFile
from wall_edge_export.model.family import FAMILIES, NoiseScheduler, time_schedule

_OF_TRAINING = ("noise_scheduler", "action_horizon_flow")
"""What ``config.yml`` has the last word of, of :class:`_Settings`."""


@dataclass(frozen=True)
class _Settings:
    noise_scheduler: NoiseScheduler | None = None
    action_horizon_flow: int | None = None
    state_bins: int | None = None

    def __post_init__(self) -> None:
        between("action_horizon_flow", self.action_horizon_flow, 1, MAX_HORIZON, "steps")


@dataclass(frozen=True)
class _TrainingData:
    state_bins: int | None = None
    use_embodied_system_prompt_ratio: float = 0.0
    camera_name_mapping: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        between("use_embodied_system_prompt_ratio", self.use_embodied_system_prompt_ratio, 0.0, 1.0)


@dataclass(frozen=True)
class Trained:
    """``steps``: of the integration; ``horizon``: None where no file says it."""

    schedule: TimeSchedule
    steps: int
    horizon: int | None
    describes_robot: bool
    """Whether the system turn describes the robot and names its action space, which no file says: in serving,
    wherever it did in some of training (``data.use_embodied_system_prompt_ratio``)."""
    camera_names: dict[str, str]
    """What the prompt calls cameras, of those that the file names."""


def trained(outline: Outline) -> Trained:
    """Of ``config.json`` and ``config.yml``. Raises :class:`CheckpointError` for what cannot be meant."""
    settings, policy = _settings(outline), outline.policy
    scheduler, data = settings.noise_scheduler or NoiseScheduler(), _data(outline)
    steps = scheduler.num_inference_timesteps if policy is None else policy.integration_steps
    return Trained(
        time_schedule(outline.config, FAMILIES[outline.shape.family]),
        steps,
        settings.action_horizon_flow if policy is None else policy.horizon,
        data.use_embodied_system_prompt_ratio > 0,
        data.camera_name_mapping,
    )


def state_text(outline: Outline, robot: RobotConfig | None, block: ModelConfig) -> StateText | None:
    """How the prompt spells the state; None where a token carries it.

    Wall-X takes 256 bins where its settings have none, LeRobot's code always 512, and no file of a checkpoint
    says which of the two it was trained by: what is said nowhere is asked for. ``block``: of the checkpoint.
    Raises :class:`ConfigError`, or :class:`CheckpointError` naming two places that differ.
    """
    places = list(_bins(outline, robot, block))
    if outline.shape.state_token:
        _refuse_bins(robot)
        return None
    if not places:
        raise ConfigError(
            "the checkpoint does not say the bins of the state that its prompt spells",
            expected="model.state_bins in ROBOT.yaml: 512 where LeRobot's wall_oss_05 trained it, 256 where "
            "Wall-X did and its config.yml has no data.state_bins",
            fix="add it and pass --robot ROBOT.yaml",
        )
    for where, bins in places[1:]:
        if bins != places[0][1]:
            raise CheckpointError(
                f"{places[0][0]} is {places[0][1]}, {where} is {bins}",
                expected="one number of bins",
                fix="take out the one that the policy was not trained with",
            )
    return StateText(places[0][1], None if outline.policy is None else outline.policy.slots[1])


def _refuse_bins(robot: RobotConfig | None) -> None:
    asked = None if robot is None or robot.model is None else robot.model.state_bins
    if asked is not None:
        raise ConfigError(
            f"model.state_bins is {asked}",
            expected="none: a token carries this policy's state",
            fix="take it out of ROBOT.yaml",
        )


def _bins(outline: Outline, robot: RobotConfig | None, block: ModelConfig) -> Iterator[tuple[str, int]]:
    """Places and what they say, ROBOT.yaml last."""
    where = str(outline.folder / "config.json")
    said = [(f"{where}: wall_edge.state_bins", block.state_bins)]
    if outline.policy is None:
        said.append((f"{where}: state_bins", _settings(outline).state_bins))
        training = _training(outline)
        said.append((f"{training.where}: state_bins", _data(outline).state_bins))
    if robot is not None and robot.model is not None:
        said.append(("model.state_bins of ROBOT.yaml", robot.model.state_bins))
    for place, bins in said:
        if bins is not None:
            yield place, _checked(place, bins)


def _checked(place: str, bins: int) -> int:
    try:
        return StateText(bins).bins
    except Invalid as problem:
        raise CheckpointError(f"{place} is {bins}", expected=problem.expected) from None


def _settings(outline: Outline) -> _Settings:
    """Of both files together; ``config.yml`` is looked at first, so that it is named for what is its own."""
    training = _training(outline)
    values = {key: value for key in _OF_TRAINING if (value := training.said(key)) is not None}
    from_mapping(_Settings, values, training.where, CheckpointError, strict=False)
    where = str(outline.folder / "config.json")
    return from_mapping(_Settings, outline.config, where, CheckpointError, strict=False)


def _training(outline: Outline) -> TrainingFile:
    """LeRobot's policies were trained by its own settings, whatever their base's file says."""
    return TrainingFile() if outline.policy is not None else outline.training


def _data(outline: Outline) -> _TrainingData:
    training = _training(outline)
    said = {key: training.said(key) for key in _TrainingData.__dataclass_fields__}
    values = {key: value for key, value in said.items() if value is not None}
    return from_mapping(_TrainingData, values, training.where, CheckpointError, path="data")
