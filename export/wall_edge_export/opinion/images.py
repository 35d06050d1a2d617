"""Pixels by the checkpoint's own image processor, compared with the vision graph's own front end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from wall_edge.array_types import Frame
from wall_edge.bundle import MAX_EXPORT_TOKENS, ImageGeometry
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge_export.model.frames import FrameFrontEnd
from wall_edge_export.opinion.peer import DIFFERS, guarded
from wall_edge_export.opinion.reference_rules import resized, scaled_frame

IMAGES = ("noise", "a ramp", "coloured blocks")
_PIXELS = 1e-3
"""Largest difference of a normalised value. A grey level is 1/255/0.276 = 0.014, so whoever resizes otherwise
is off by at least that; rounding to float32 in another order gives some 1e-6."""
_MOST_PIXELS = MAX_EXPORT_TOKENS * 28 * 28
"""A processor that enlarges every image to more than an export takes is not run: it could ask for any
memory."""


def check_images(processor: Any, geometry: ImageGeometry, where: str) -> float:
    """Compare one camera's images; returns the largest difference of a normalised value.

    ``where`` begins the message of a CheckpointError. Raises Unusable where the processor cannot run.
    """
    _check_sizes(processor, geometry, where)
    return max(
        _check_frame(processor, geometry, frame, f"{where}, {kind}")
        for kind, frame in _frames(geometry.width, geometry.height)
    )


def _check_sizes(processor: Any, geometry: ImageGeometry, where: str) -> None:
    """Compare what would make the processor ask for any amount of memory before it runs."""
    for name in ("patch_size", "merge_size", "temporal_patch_size"):
        reference, ours = getattr(processor, name, None), getattr(geometry, name)
        if reference != ours:
            raise CheckpointError(f"{where}: {name} is {shown(reference)}", expected=str(ours), fix=DIFFERS)
    fewest = _fewest_pixels(processor)
    if fewest > _MOST_PIXELS:
        message = f"{where}: images of at least {fewest:g} pixels"
        raise CheckpointError(message, expected=f"at most {_MOST_PIXELS}", fix=DIFFERS)


def _fewest_pixels(processor: Any) -> float:
    size = guarded(lambda: dict(processor.size or {}))
    values = [size.get("shortest_edge"), size.get("min_pixels"), getattr(processor, "min_pixels", None)]
    fewest: float = guarded(lambda: max([float(value) for value in values if value is not None], default=0.0))
    return fewest


def _check_frame(processor: Any, geometry: ImageGeometry, frame: Frame, where: str) -> float:
    """Compare one frame's grid and values; returns the largest difference."""
    image = scaled_frame(frame, geometry.resolution)
    output = guarded(lambda: processor(images=[image], return_tensors="np"))
    grid = tuple(int(side) for side in output["image_grid_thw"][0])
    if grid != (1, *geometry.grid):
        tokens = int(np.prod(grid)) // geometry.merge_size**2
        message = f"{where}: {geometry.tokens} image tokens, a grid of {list(geometry.grid)} patches"
        raise CheckpointError(message, expected=f"{tokens}, a grid of {list(grid[1:])}", fix=DIFFERS)
    size = (grid[2] * geometry.patch_size, grid[1] * geometry.patch_size)
    if size != image.size:  # it resizes by itself: once more, with the order of the axes pinned
        whole = guarded(lambda: resized(image, size, processor.resample))
        output = guarded(lambda: processor(images=[whole], do_resize=False, return_tensors="np"))
    ours = FrameFrontEnd(geometry)(torch.from_numpy(frame)).numpy().astype(np.float64)
    reference = np.asarray(output["pixel_values"], dtype=np.float64)
    if reference.shape != ours.shape:
        raise CheckpointError(
            f"{where}: pixel values {ours.shape}", expected=str(reference.shape), fix=DIFFERS
        )
    difference = float(np.abs(ours - reference).max())
    if not difference <= _PIXELS:  # NaN, too
        message = f"{where}: normalised pixel values differ by up to {difference:.4g}"
        raise CheckpointError(message, expected=f"at most {_PIXELS:g}", fix=DIFFERS)
    return difference


def _frames(width: int, height: int) -> Iterator[tuple[str, Frame]]:
    """Images that show a fault: noise for the order of pixels, a ramp for values, blocks for overshooting."""
    rng = np.random.default_rng(0)
    yield IMAGES[0], rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    ramp = np.empty((height, width, 3), dtype=np.uint8)
    x, y = (np.linspace(0, 255, side).astype(np.uint8) for side in (width, height))
    ramp[..., 0], ramp[..., 1], ramp[..., 2] = x, y[:, None], x // 2 + y[:, None] // 2
    yield IMAGES[1], ramp
    blocks = 255 * rng.integers(0, 2, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    yield IMAGES[2], blocks.repeat(8, 0).repeat(8, 1)[:height, :width]
