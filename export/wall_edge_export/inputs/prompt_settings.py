"""How a checkpoint's prompts are worded, and how they say the state.

Facts (github.com/X-Square-Robot/wall-x 1.1, ``harrix/adapters/qwen_vlact.py`` and ``train_config.py``;
LeRobot's ``wall_oss_05``): where the state is text, cameras and instruction are worded like
``wall-oss-0.5``. ``data.camera_name_mapping`` of ``config.yml`` renames cameras in the prompts that a policy
was trained with. Where ``use_embodied_system_prompt_ratio`` is not 0, serving has the system turn that
describes the robot. Upstream says the degrees of freedom that a robot has, LeRobot all slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.bundle import ActionSpace, StateText, Wording
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.files import shown
from wall_edge.policies.prompt_text import view_name
from wall_edge_export.checkpoint.outline import Outline
from wall_edge_export.checkpoint.settings.training_file import TrainingFile, training_file


@dataclass(frozen=True)
class PromptSettings:
    """As the manifest has them."""

    wording: Wording
    action_space: ActionSpace | None
    state_text: StateText | None


def prompt_settings(
    outline: Outline, wording: Wording | None, action_space: ActionSpace | None, bins: int | None
) -> PromptSettings:
    """``wording``, ``action_space``, ``bins``: what ROBOT.yaml or the checkpoint's own block say.

    Raises :class:`ConfigError` for what nothing says, :class:`CheckpointError` for files that disagree.
    """
    folder = outline.config_folder
    # LeRobot has no config.yml: one beside its files is of the base.
    own = folder is not None and outline.policy is None
    training = training_file(folder) if folder is not None and own else TrainingFile()
    if action_space is None:
        _require_plain_system(training)
    return PromptSettings(
        wording or _wording(outline),
        action_space,
        None if outline.shape.state_token else _state_text(outline, training, bins),
    )


def check_labels(outline: Outline, cameras: list[str], wording: Wording) -> None:
    """Raise :class:`CheckpointError` where training called a camera something else than our prompts do."""
    folder = outline.config_folder
    if folder is None or outline.policy is not None or outline.shape.state_token:
        return
    training = training_file(folder)
    mapping = training.said("camera_name_mapping")
    for camera in cameras if isinstance(mapping, dict) else ():
        label, ours = mapping.get(camera, camera), view_name(camera, wording)
        if label != ours:
            raise CheckpointError(
                f"{training.where}: camera_name_mapping calls {camera} {shown(label, 60)!r} in the prompt",
                expected=f"{ours!r}",
                fix="name the camera in ROBOT.yaml so that its prompt has the words that were trained",
            )


def _wording(outline: Outline) -> Wording:
    if not outline.shape.state_token:
        return "wall-oss-0.5"
    return "upstream" if outline.policy is None else "lerobot"


def _require_plain_system(training: TrainingFile) -> None:
    """Raises where training had a system turn that names the action space, which no file says."""
    ratio = training.said("use_embodied_system_prompt_ratio")
    if ratio not in (None, 0):
        raise ConfigError(
            f"{training.where}: use_embodied_system_prompt_ratio is {shown(ratio, 60)}, "
            "and nothing says the action space that its system turn names",
            expected="model.prompt_action_space in ROBOT.yaml: Abs EEF or Rel EEF",
            fix="add it and pass --robot ROBOT.yaml",
        )


def _state_text(outline: Outline, training: TrainingFile, bins: int | None) -> StateText:
    said = training.said("state_bins")
    if bins is None and said is None:
        raise ConfigError(
            f"{outline.folder}: nothing says into how many bins the state's values are cut",
            expected="model.state_bins in ROBOT.yaml (256 and 512 are in use)",
            fix="add what the policy was trained with and pass --robot ROBOT.yaml",
        )
    if bins is not None and said is not None and bins != said:
        raise ConfigError(f"model.state_bins {bins}", expected=f"{shown(said, 60)}, as in {training.where}")
    number = said if bins is None else bins
    if type(number) is not int:
        raise CheckpointError(f"{training.where}: state_bins is {shown(number, 60)}", expected="a number")
    return StateText(number, None if outline.policy is None else outline.policy.slots[1])
