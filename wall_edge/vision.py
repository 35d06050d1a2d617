"""Camera frames → normalised patches in merge order, as Qwen2.5-VL's image processor makes them.

LeRobot's wall_x first scales the longest side to a resolution (256), then Qwen's ``smart_resize`` rounds
both sides to multiples of 28; both resizes are Pillow's antialiased bicubic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import CameraError

CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)

Frame = npt.NDArray[np.uint8]
Patches = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageGeometry:
    """How one camera's frames become patches. Sizes in pixels; ``grid`` in patches (height, width)."""

    width: int
    height: int
    resolution: int = 256
    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 16384 * 28 * 28

    @property
    def scaled(self) -> tuple[int, int]:
        """Width and height after the longest side became ``resolution``."""
        if self.width > self.height:
            return self.resolution, int(self.resolution * self.height / self.width)
        return int(self.resolution * self.width / self.height), self.resolution

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height that are cut into patches."""
        width, height = self.scaled
        return smart_resize(
            width, height, self.patch_size * self.merge_size, self.min_pixels, self.max_pixels
        )

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


def resize(frame: Frame, geometry: ImageGeometry) -> Frame:
    """``[height, width, 3]`` uint8 → the resized frame; a no-op resize is skipped."""
    expected = (geometry.height, geometry.width, 3)
    if frame.shape != expected or frame.dtype != np.uint8:
        raise CameraError(
            f"a frame of shape {list(frame.shape)} and type {frame.dtype}",
            expected=f"{list(expected)} uint8",
            fix="set the camera's width and height in ROBOT.yaml to what it delivers",
        )
    image = Image.fromarray(frame)
    for size in (geometry.scaled, geometry.resized):
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def cut(frames: Frame, geometry: ImageGeometry) -> Patches:
    """Resized frames ``[..., h, w, 3]`` uint8 → ``[..., grid_h·grid_w, 3·frames·patch²]`` float32.

    Patches come in merge order (2x2 neighbours adjacent); a still image stands for both frames of the
    temporal patch. Values within a patch are ordered (channel, frame, row, column).
    """
    pixels = (frames.astype(np.float32) / np.float32(255) - CLIP_MEAN) / CLIP_STD
    height, width = geometry.grid
    merge, size, depth = geometry.merge_size, geometry.patch_size, geometry.temporal_patch_size
    split = pixels.reshape(-1, height // merge, merge, size, width // merge, merge, size, 3)
    ordered = split.transpose(0, 1, 4, 2, 5, 7, 3, 6).reshape(-1, height * width, 3, 1, size, size)
    repeated = np.repeat(ordered, depth, axis=3)
    return np.ascontiguousarray(repeated.reshape(*frames.shape[:-3], height * width, 3 * depth * size**2))


def patches(frame: Frame, geometry: ImageGeometry) -> Patches:
    """One camera frame ``[height, width, 3]`` uint8 → its patches, see :func:`cut`."""
    return cut(resize(frame, geometry), geometry)
