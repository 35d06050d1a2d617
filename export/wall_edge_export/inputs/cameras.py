"""A policy's cameras: which, in which order, and how their frames become image tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wall_edge.bundle import MAX_EXPORT_TOKENS, MAX_TOKENS, ImageGeometry
from wall_edge.checks import MAX_CAMERAS, MAX_FRAME_PIXELS, MAX_SIDE
from wall_edge.config import RobotConfig
from wall_edge.config_loader import Invalid
from wall_edge.errors import CheckpointError, ConfigError, plural
from wall_edge.files import is_plain_name, shown
from wall_edge_export.checkpoint.image_processor import PixelBounds, pixel_bounds
from wall_edge_export.checkpoint.outline import Outline
from wall_edge_export.checkpoint.settings.training_yaml import TrainingImages, training_images
from wall_edge_export.model.family import FAMILIES


@dataclass(frozen=True)
class CameraBlock:
    """A camera that the checkpoint was trained with. Sizes in pixels."""

    width: int
    height: int
    resolution: int | None = None


def camera_geometries(
    outline: Outline,
    robot: RobotConfig | None,
    blocks: Mapping[str, CameraBlock],
    resolution: int | None,
) -> dict[str, ImageGeometry]:
    """Geometry by camera in the order of the prompt: the checkpoint's own (``blocks``), else ROBOT.yaml's.

    ``resolution``: the checkpoint's longest side where it says nothing of a camera.

    Raises :class:`ConfigError` or :class:`CheckpointError`.
    """
    sizes = _sizes(robot, blocks)
    if len(sizes) > MAX_CAMERAS:
        raise ConfigError(plural(len(sizes), "camera"), expected=f"at most {MAX_CAMERAS}")
    # LeRobot's sizes are constants of its code, whatever the base was trained with.
    folder = outline.config_folder
    training = TrainingImages() if outline.policy is not None else training_images(outline.training)
    bounds = None if folder is None else pixel_bounds(folder, outline.shape.vision)
    geometries = {}
    for name, (width, height) in sizes.items():
        if not is_plain_name(name):
            raise CheckpointError(
                f"a camera named {shown(name, 60)!r}",
                expected="letters, digits, _, - and . : it goes into the prompt",
            )
        if max(width, height) > MAX_SIDE or width * height > MAX_FRAME_PIXELS:
            expected = f"sides of at most {MAX_SIDE} pixels, and at most {MAX_FRAME_PIXELS} of them"
            raise ConfigError(f"camera {name}: frames of {width}x{height}", expected=expected)
        side = _side(name, robot, blocks.get(name), resolution, training, (width, height))
        geometries[name] = _geometry(outline, name, (width, height), side, training, bounds)
    total = sum(geometry.tokens for geometry in geometries.values())
    if total > MAX_TOKENS:
        raise ConfigError(
            f"{total} image tokens in all", expected=f"at most {MAX_TOKENS}", fix="lower resolution"
        )
    return geometries


def _sizes(robot: RobotConfig | None, blocks: Mapping[str, CameraBlock]) -> dict[str, tuple[int, int]]:
    sizes = {name: (camera.width, camera.height) for name, camera in blocks.items()}
    if robot is not None:
        if blocks and set(blocks) != set(robot.cameras):
            raise ConfigError(
                f"ROBOT.yaml's cameras {', '.join(robot.cameras)}",
                expected=f"the checkpoint's cameras {shown(', '.join(blocks))}",
            )
        order = blocks or robot.cameras
        sizes = {name: (robot.cameras[name].width, robot.cameras[name].height) for name in order}
    if not sizes:
        raise ConfigError(
            "the checkpoint does not say its cameras",
            expected="cameras with width and height in ROBOT.yaml",
            fix="pass --robot ROBOT.yaml",
        )
    return sizes


def _side(
    name: str,
    robot: RobotConfig | None,
    block: CameraBlock | None,
    general: int | None,
    training: TrainingImages,
    size: tuple[int, int],
) -> int | None:
    """Longest side of a camera: ROBOT.yaml's word, else what the checkpoint's files say and agree on.

    ``general``: the ``wall_edge`` block's for all cameras.
    """
    block_side = block.resolution if block is not None else None
    robot_side = robot.cameras[name].resolution if robot is not None else None
    if robot_side is None and block_side is None and robot is not None and robot.model is not None:
        robot_side = robot.model.resolution
    block_side = block_side or general
    if robot_side is not None:
        return robot_side
    training_side = training.side(name, *size) if block_side is None or training.lists(name) else None
    if block_side is not None and training_side is not None and block_side != training_side:
        raise CheckpointError(
            f"{training.where}: data.resolution of {name} is {training_side}, "
            f"the wall_edge block's is {block_side}",
            expected="one of them",
            fix=f"set cameras.{name}.resolution in ROBOT.yaml to what the policy was trained with",
        )
    return block_side if block_side is not None else training_side


def _geometry(
    outline: Outline,
    name: str,
    size: tuple[int, int],
    side: int | None,
    training: TrainingImages,
    bounds: PixelBounds | None,
) -> ImageGeometry:
    vision, plain = outline.shape.vision, ImageGeometry
    factor = vision.patch_size * vision.spatial_merge_size
    if training.image_factor not in (None, factor):
        raise CheckpointError(
            f"{training.where}: data.image_factor is {training.image_factor}",
            expected=f"{factor}, patch_size times spatial_merge_size",
        )
    try:
        geometry = ImageGeometry(
            width=size[0],
            height=size[1],
            resolution=side or FAMILIES[outline.shape.family].longest_side,
            patch_size=vision.patch_size,
            merge_size=vision.spatial_merge_size,
            temporal_patch_size=vision.temporal_patch_size,
            min_pixels=training.min_pixels or plain.min_pixels,
            max_pixels=training.max_pixels or plain.max_pixels,
            processor_min_pixels=None if bounds is None else bounds.least,
            processor_max_pixels=None if bounds is None else bounds.most,
        )
    except Invalid as problem:
        raise ConfigError(f"camera {name}: {problem}") from problem
    if geometry.tokens > MAX_EXPORT_TOKENS:
        raise ConfigError(
            f"camera {name}: {geometry.tokens} image tokens at {geometry.resized[0]}x{geometry.resized[1]}",
            expected=f"at most {MAX_EXPORT_TOKENS}",
            fix="lower its resolution",
        )
    return geometry
