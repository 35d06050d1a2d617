"""What a plan is made of: a shape's name, or a checkpoint of which no weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from wall_edge.bundle import ImageGeometry
from wall_edge.bundle.tokenizer import load_tokenizer
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, ConfigError, plural
from wall_edge.files import shown
from wall_edge.policies.prompt_text import IMAGE_PAD, STATE, action_text, observation_text
from wall_edge_export.checkpoint.checkpoint import open_outline
from wall_edge_export.checkpoint.hub import local_path
from wall_edge_export.checkpoint.lerobot_policy import LeRobotPolicy
from wall_edge_export.checkpoint.outline import Outline
from wall_edge_export.checkpoint.settings.training_file import TrainingFile
from wall_edge_export.inputs.export_inputs import INSTRUCTION, INSTRUCTION_TOKENS
from wall_edge_export.inputs.settings import ChunkSettings, chunk_settings
from wall_edge_export.model.shapes import ModelShape
from wall_edge_export.onnx.graphs import GraphInputs
from wall_edge_export.reference.random_config import model_config, stored_shape
from wall_edge_export.reference.random_shapes import SHAPES
from wall_edge_export.reference.random_tokenizer import build_tokenizer

Cameras = int | tuple[str, ...] | None
"""The first so many of a policy's cameras, some by name, or all of them."""


@dataclass(frozen=True)
class PlanSource:
    """A policy's sizes, before it is exported: what :func:`model_workload` takes, and its rates."""

    shape: ModelShape
    graph_inputs: GraphInputs
    prompt_tokens: int
    """Of the prompt that asks for an action: the images' and the words' (the robot's instruction, else a
    short one; of a state that is spelt, the longest)."""
    max_prompt_tokens: int
    """Of the longest prompt that its bundle will take."""
    integration_steps: int
    horizon: int
    """Steps of an action chunk."""
    action_rate_hz: float
    cameras: tuple[str, ...]
    """In the prompt's order."""


@dataclass(frozen=True)
class _ShapeOutline:
    """A named shape with the settings that a random checkpoint of it would have; there are no files."""

    folder: Path
    config: dict[str, Any]
    shape: ModelShape
    config_folder: None = None
    training: TrainingFile = TrainingFile()  # noqa: RUF009 - frozen
    policy: LeRobotPolicy | None = None


def plan_source(
    argument: str, cameras: Cameras = None, robot: RobotConfig | None = None, base: str | None = None
) -> PlanSource:
    """The policy that ``argument`` names: one of ``SHAPES``, else a checkpoint's folder or Hub id.

    A folder that has a shape's name is written ``./NAME``. Of a checkpoint, ``config.json`` and
    ``tokenizer.json`` are enough. ``robot`` says what the checkpoint does not, as in export; a shape takes
    its cameras. ``base``: of a LeRobot policy. Nothing is written. Raises :class:`CheckpointError`,
    :class:`ConfigError` or :class:`BundleError`.
    """
    if argument in SHAPES:
        if base is not None:
            raise ConfigError(f"--base beside the shape {argument}", expected="a LeRobot policy's checkpoint")
        tokenizer = build_tokenizer(SHAPES[argument])
        source = _source(_shape_outline(argument, tokenizer, robot), tokenizer, cameras, robot)
        # A checkpoint never is one of FAST actions here: its export needs the FAST tokenizer beside it.
        kind = SHAPES[argument].actions
        return replace(source, graph_inputs=replace(source.graph_inputs, actions=kind))
    if not argument or ("/" not in argument and not local_path(argument).exists()):
        raise ConfigError(
            f"{shown(argument, 100)}: neither a shape nor a folder",
            expected=f"one of {', '.join(SHAPES)}, or a checkpoint's folder or Hub id",
        )
    outline = open_outline(argument, base)
    tokenizer = load_tokenizer(outline.tokenizer, CheckpointError)
    return _source(outline, tokenizer, cameras, robot)


def _shape_outline(name: str, tokenizer: Tokenizer, robot: RobotConfig | None) -> Outline:
    config = model_config(SHAPES[name], tokenizer, "bfloat16")
    if robot is not None:  # nothing was trained with the shape's cameras: the robot has its own
        del config["wall_edge"]["cameras"]
    return _ShapeOutline(Path(name), config, stored_shape(SHAPES[name], config))


def _source(
    outline: Outline, tokenizer: Tokenizer, cameras: Cameras, robot: RobotConfig | None
) -> PlanSource:
    settings = chunk_settings(outline, robot)
    settings = replace(settings, cameras=_selected(settings.cameras, cameras))
    image_tokens = {name: camera.tokens for name, camera in settings.cameras.items()}
    observation = observation_text(image_tokens, settings.wording, settings.action_space)
    # The robot's degrees of freedom may be fewer: how many is not asked for here.
    text, degrees = settings.state_text, outline.shape.state_dof
    room = INSTRUCTION_TOKENS + (0 if text is None else text.most_tokens(degrees))
    state = STATE if text is None else text.longest_words(degrees)
    instruction = (robot.instruction if robot is not None else None) or INSTRUCTION
    return PlanSource(
        shape=outline.shape,
        graph_inputs=_graph_inputs(settings, tokenizer, outline),
        prompt_tokens=_count(tokenizer, observation + action_text(instruction, settings.wording, state)),
        max_prompt_tokens=_count(tokenizer, observation) + room,
        integration_steps=len(settings.time_grid) - 1,
        horizon=settings.horizon,
        action_rate_hz=settings.action_rate_hz,
        cameras=tuple(settings.cameras),
    )


def _graph_inputs(settings: ChunkSettings, tokenizer: Tokenizer, outline: Outline) -> GraphInputs:
    folder, token = outline.folder, outline.shape.state_token
    return GraphInputs(
        grids=tuple(camera.grid for camera in settings.cameras.values()),
        image_token_id=_special(tokenizer, IMAGE_PAD, folder),
        state_token_id=_special(tokenizer, STATE, folder) if token else None,
        horizon=settings.horizon,
        cameras=settings.cameras,
    )


def _selected(every: Mapping[str, ImageGeometry], cameras: Cameras) -> dict[str, ImageGeometry]:
    """Those asked for, in the prompt's order."""
    names = tuple(every)
    if isinstance(cameras, int):
        if not 1 <= cameras <= len(names):
            raise ConfigError(
                plural(cameras, "camera"), expected=f"1 to {len(names)}: {shown(', '.join(names))}"
            )
        cameras = names[:cameras]
    chosen = names if cameras is None else cameras
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(names):
        raise ConfigError(
            f"cameras {shown(', '.join(chosen), 200) or 'none'}",
            expected=f"some of {shown(', '.join(names))}, each once",
        )
    return {name: camera for name, camera in every.items() if name in chosen}


def _count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _special(tokenizer: Tokenizer, token: str, folder: Path) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise CheckpointError(f"{folder}: special token {token} is missing", expected="a WALL-OSS tokenizer")
    return int(number)
