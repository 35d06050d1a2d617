"""Camera frames → normalised patches in merge order, as Qwen2.5-VL's image processor makes them.

A bundle's vision graph does this by itself; this is the path with Pillow that it is checked against, and what
training runs.

LeRobot's wall_x first scales the longest side to a resolution (256), then Qwen's ``smart_resize`` rounds
both sides to multiples of 28, and the checkpoint's image processor may bound the area once more; all of them
are Pillow's antialiased bicubic.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from wall_edge.array_types import Floats32, Frame
from wall_edge.bundle import ImageGeometry
from wall_edge.errors import CameraError

CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


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
    for width, height in geometry.steps:
        # One axis at a time: for both at once, Pillow 13 chooses the order, and earlier versions do not.
        for size in ((width, image.height), (width, height)):
            if image.size != size:
                image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def cut(frames: Frame, geometry: ImageGeometry) -> Floats32:
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


def patches(frame: Frame, geometry: ImageGeometry) -> Floats32:
    """One camera frame ``[height, width, 3]`` uint8 → its patches, see :func:`cut`."""
    return cut(resize(frame, geometry), geometry)
