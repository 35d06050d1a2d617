"""Sizes of a camera's frames on their way into the model: a contract of the bundle, free of any imaging."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wall_edge.checks import between, check_frame
from wall_edge.config_loader import Invalid

MAX_PIXELS = 1 << 26
MAX_TOKENS = 16_384
"""Of one image: what Qwen2-VL's own bound of 12.8 million pixels comes to; an export's cameras share them."""
MAX_EXPORT_TOKENS = 4096
"""Of one image of an export: attention over more takes tens of GB. WALL-OSS gives a camera 63."""


@dataclass(frozen=True)
class ImageGeometry:
    """How one camera's frames become patches. Sizes in pixels; ``grid`` in patches (height, width).

    Three resizes, one after the other: the longest side to ``resolution``; ``smart_resize`` between
    ``min_pixels`` and ``max_pixels``; then the image processor's own, between its bounds, which are None
    where it resizes nothing. With bounds as wide as the first ones the last changes nothing.
    """

    width: int
    height: int
    resolution: int = 256
    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 16384 * 28 * 28
    processor_min_pixels: int | None = None
    processor_max_pixels: int | None = None

    def __post_init__(self) -> None:
        check_frame(self.width, self.height)
        between("resolution", self.resolution, 1, 8192, "pixels")
        between("patch_size", self.patch_size, 1, 64, "pixels")
        between("merge_size", self.merge_size, 1, 8, "patches")
        between("temporal_patch_size", self.temporal_patch_size, 1, 8, "frames")
        between("min_pixels", self.min_pixels, 1, MAX_PIXELS, "pixels")
        between("max_pixels", self.max_pixels, self.min_pixels, MAX_PIXELS, "pixels, min_pixels at least")
        least, most = self.processor_min_pixels, self.processor_max_pixels
        if (least is None) != (most is None) or not 1 <= (least or 1) <= (most or 1) <= MAX_PIXELS:
            expected = f"at least 1 and at most processor_max_pixels ({most})"
            raise Invalid("processor_min_pixels", least, expected=expected)
        if min(self.scaled) < 1:
            size = f"{self.width}x{self.height}"
            raise Invalid("resolution", self.resolution, expected=f"enough for a frame of {size} pixels")
        if max(self.scaled) > 200 * min(self.scaled):  # smart_resize's own limit
            raise Invalid(
                "width", self.width, expected=f"sides no more than 200 to 1, not {self.height} high"
            )
        if self.tokens > MAX_TOKENS:
            raise Invalid("resolution", self.resolution, expected=f"less: {self.tokens} tokens an image")

    @property
    def scaled(self) -> tuple[int, int]:
        """Width and height after the longest side became ``resolution``."""
        if self.width > self.height:
            return self.resolution, int(self.resolution * self.height / self.width)
        return int(self.resolution * self.width / self.height), self.resolution

    @property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """Width and height after each resize; one that changes nothing repeats the size before it."""
        factor = self.patch_size * self.merge_size
        rounded = smart_resize(*self.scaled, factor, self.min_pixels, self.max_pixels)
        if self.processor_min_pixels is None or self.processor_max_pixels is None:
            return self.scaled, rounded
        last = smart_resize(*rounded, factor, self.processor_min_pixels, self.processor_max_pixels)
        return self.scaled, rounded, last

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height that are cut into patches."""
        return self.steps[-1]

    @property
    def grid(self) -> tuple[int, int]:
        width, height = self.resized
        return height // self.patch_size, width // self.patch_size

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width in merged cells: one image token each."""
        height, width = self.grid
        return height // self.merge_size, width // self.merge_size

    @property
    def tokens(self) -> int:
        height, width = self.cells
        return height * width


def smart_resize(width: int, height: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Both sides to multiples of ``factor`` with the area between the bounds (Qwen2-VL's rule)."""
    new_width = max(factor, round(width / factor) * factor)
    new_height = max(factor, round(height / factor) * factor)
    if new_width * new_height > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        new_width = max(factor, math.floor(width / shrink / factor) * factor)
        new_height = max(factor, math.floor(height / shrink / factor) * factor)
    elif new_width * new_height < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        new_width = math.ceil(width * grow / factor) * factor
        new_height = math.ceil(height * grow / factor) * factor
    return new_width, new_height
