"""Upstream's training ``config.yml`` beside the weights: what it says about images.

Facts (github.com/X-Square-Robot/wall-x, September 2025, ``wall_x/data/config.py`` and
``load_lerobot_dataset.py``): ``data.resolution`` is the longest side by view, -1 where a frame keeps its
size, as it does for a view that is not listed; then ``smart_resize`` between ``min_pixels`` and
``max_pixels``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wall_edge.bundle import MAX_PIXELS
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.policies.prompt_text import VIEWS
from wall_edge_export.checkpoint.settings.training_file import FILES, TrainingFile

KEEPS_ITS_SIZE = -1


@dataclass(frozen=True)
class _Data:
    resolution: dict[str, int] | int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    image_factor: int | None = None

    def __post_init__(self) -> None:
        sides = self.resolution if isinstance(self.resolution, dict) else {"": self.resolution}
        for view, side in sides.items():
            if side not in (None, KEEPS_ITS_SIZE) and not 28 <= side <= 8192:
                raise Invalid(f"resolution.{view}".rstrip("."), side, expected="-1, or 28 to 8192 pixels")
        least, most = self.min_pixels, self.max_pixels
        for key, value in (("min_pixels", least), ("max_pixels", most)):
            if value is not None and not 1 <= value <= MAX_PIXELS:
                raise Invalid(key, value, expected=f"1 to {MAX_PIXELS}")
        if least is not None and most is not None and least > most:
            raise Invalid("min_pixels", least, expected=f"at most max_pixels ({most})")


@dataclass(frozen=True)
class TrainingImages:
    """``resolution``: by view, or of all of them; None when the file says nothing."""

    where: str = FILES[0]
    resolution: dict[str, int] | int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    image_factor: int | None = None

    def lists(self, camera: str) -> bool:
        """Whether the file says a resolution for this camera."""
        return self.resolution is not None and not (
            isinstance(self.resolution, dict) and camera not in self.resolution
        )

    def side(self, camera: str, width: int, height: int) -> int | None:
        """Longest side of a camera's frames in pixels; None when the file does not say.

        Raises :class:`ConfigError` for a camera that is no view of upstream's and is not listed.
        """
        side = self.resolution
        if isinstance(side, dict):
            if camera not in side and camera not in VIEWS:
                raise ConfigError(
                    f"{self.where}: data.resolution has no view {camera}",
                    expected=f"one of {', '.join(side)}",
                    fix=f"name the camera so, or set cameras.{camera}.resolution in ROBOT.yaml",
                )
            side = side.get(camera, KEEPS_ITS_SIZE)
        return max(width, height) if side == KEEPS_ITS_SIZE else side


@dataclass(frozen=True)
class _Training:
    data: _Data = field(default_factory=_Data)


def training_images(training: TrainingFile) -> TrainingImages:
    """What the file says; raises :class:`CheckpointError` for what cannot be meant."""
    if training.path is None:
        return TrainingImages()
    data = from_mapping(_Training, training.raw, training.where, CheckpointError, strict=False).data
    return TrainingImages(training.where, **vars(data))
