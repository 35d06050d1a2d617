"""Sizes of a camera's frames on their way into the model: a contract of the bundle, free of any imaging."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .loader import Invalid


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
        for name in ("width", "height", "resolution"):
            if not 1 <= getattr(self, name) <= 16384:
                raise Invalid(name, getattr(self, name), expected="1 to 16384 pixels")
        least, most = self.processor_min_pixels, self.processor_max_pixels
        if (least is None) != (most is None) or not 1 <= (least or 1) <= (most or 1) <= 1 << 26:
            expected = f"at least 1 and at most processor_max_pixels ({most})"
            raise Invalid("processor_min_pixels", least, expected=expected)
        if min(self.scaled) < 1:
            size = f"{self.width}x{self.height}"
            raise Invalid("resolution", self.resolution, expected=f"enough for a frame of {size} pixels")
        if max(self.scaled) > 200 * min(self.scaled):  # smart_resize's own limit
            raise Invalid(
                "width", self.width, expected=f"sides no more than 200 to 1, not {self.height} high"
            )

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
