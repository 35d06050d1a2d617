"""What a checkpoint's image processor does to pixels: honoured, or refused by name.

Both references hand their frames, already resized, to Qwen2-VL's image processor of transformers
(``models/qwen2_vl/image_processing_qwen2_vl.py``), the fast one, which may resize them again. Its settings
lie in ``preprocessor_config.json``; transformers 5 nests them in ``processor_config.json`` and prefers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wall_edge.config_loader import from_mapping
from wall_edge.errors import CheckpointError
from wall_edge.files import shown
from wall_edge.policies.vision import CLIP_MEAN, CLIP_STD
from wall_edge_export.checkpoint.weights import read_json
from wall_edge_export.model.shapes import VisionShape

_FILE, _NESTED_FILE, _NESTED = "preprocessor_config.json", "processor_config.json", "image_processor"
_TYPES = (
    "Qwen2VLImageProcessor",
    "Qwen2VLImageProcessorFast",
    "Qwen2VLImageProcessorPil",
    "Qwen2_5_VLImageProcessor",
    "Qwen2_5_VLImageProcessorFast",
)
_BICUBIC = (3, "bicubic", "BICUBIC")
_LARGEST = 16384 * 28 * 28
"""No frame has as many pixels; a larger bound means the same."""
_SIZE_KEYS = ("shortest_edge", "longest_edge", "min_pixels", "max_pixels")


@dataclass(frozen=True)
class PixelBounds:
    """The area in pixels that the processor's own resize keeps an image within."""

    least: int = 56 * 56
    most: int = 28 * 28 * 1280


@dataclass(frozen=True)
class _Processor:
    image_processor_type: str | None = None
    do_resize: bool | None = None
    do_rescale: bool | None = None
    do_normalize: bool | None = None
    do_convert_rgb: bool | None = None
    size: dict[str, int | None] | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    resample: int | str | None = None
    rescale_factor: float | None = None
    image_mean: tuple[float, ...] | float | None = None
    image_std: tuple[float, ...] | float | None = None
    patch_size: int | None = None
    merge_size: int | None = None
    temporal_patch_size: int | None = None


def pixel_bounds(folder: Path, vision: VisionShape) -> PixelBounds | None:
    """The processor's bounds; None where it resizes nothing, or where the folder has no processor's settings.

    Raises :class:`CheckpointError` for whatever else would change pixels or the number of image tokens.
    """
    bounds = {path: _bounds(path, raw, vision) for path, raw in _settings(folder).items()}
    if len(set(bounds.values())) > 1:
        names = " and ".join(path.name for path in bounds)
        raise CheckpointError(
            f"{folder}: {names} disagree about min_pixels, max_pixels or do_resize",
            expected="one set of settings for the image processor",
            fix="remove the file that the policy was not trained with",
        )
    return next(iter(bounds.values()), None)


def _settings(folder: Path) -> dict[Path, dict[str, Any]]:
    settings = {}
    if (folder / _FILE).exists():
        settings[folder / _FILE] = read_json(folder / _FILE, "the image processor's settings")
    if (folder / _NESTED_FILE).exists():
        nested = read_json(folder / _NESTED_FILE, "the processor's settings").get(_NESTED)
        if nested is not None:
            settings[folder / _NESTED_FILE] = nested
    return settings


def _bounds(path: Path, raw: object, vision: VisionShape) -> PixelBounds | None:
    processor = from_mapping(_Processor, raw, str(path), CheckpointError, strict=False)
    for key, value, fits, expected in _rules(processor, vision):
        if value is not None and not fits:
            raise CheckpointError(
                f"{path}: {key} {value!r}",
                expected=expected,
                fix="this exporter's images are made in one way only: export the policy of another processor",
            )
    assert isinstance(raw, Mapping)
    for key, value in raw.items():
        if key.startswith("do_") and value and key not in vars(processor):
            raise CheckpointError(
                f"{path}: {key} {value!r} is not supported", expected="Qwen2-VL's processor"
            )
    if processor.do_resize is False:
        return None
    return _area(path, processor)


def _rules(processor: _Processor, vision: VisionShape) -> tuple[tuple[str, object, bool, str], ...]:
    """Key, value, whether it is what happens here anyway, and what that is."""
    kind, factor = processor.image_processor_type, processor.rescale_factor
    return (
        ("image_processor_type", kind, kind in _TYPES, f"one of {', '.join(_TYPES)}"),
        ("do_rescale", processor.do_rescale, bool(processor.do_rescale), "true: pixels from 0 to 1"),
        ("do_normalize", processor.do_normalize, bool(processor.do_normalize), "true: by CLIP's statistics"),
        ("resample", processor.resample, processor.resample in _BICUBIC, "3 (bicubic)"),
        ("rescale_factor", factor, factor is not None and bool(np.isclose(factor, 1 / 255, 1e-5)), "1/255"),
        (
            "image_mean",
            processor.image_mean,
            _alike(processor.image_mean, CLIP_MEAN),
            f"CLIP's {CLIP_MEAN.tolist()}",
        ),
        (
            "image_std",
            processor.image_std,
            _alike(processor.image_std, CLIP_STD),
            f"CLIP's {CLIP_STD.tolist()}",
        ),
        *(
            (key, value, value == size, f"{size}, as vision_config has it")
            for key, value, size in (
                ("patch_size", _first(processor.patch_size, 14), vision.patch_size),
                ("merge_size", _first(processor.merge_size, 2), vision.spatial_merge_size),
                ("temporal_patch_size", _first(processor.temporal_patch_size, 2), vision.temporal_patch_size),
            )
        ),
    )


def _alike(values: tuple[float, ...] | float | None, ours: np.ndarray) -> bool:
    return isinstance(values, tuple) and len(values) == len(ours) and np.allclose(values, ours, atol=1e-6)


def _area(path: Path, processor: _Processor) -> PixelBounds:
    """transformers' rule: ``min_pixels`` and ``max_pixels`` before ``size``, and that before the defaults."""
    size = {key: value for key, value in (processor.size or {}).items() if value is not None}
    if odd := sorted(set(size) - set(_SIZE_KEYS)):
        raise CheckpointError(f"{path}: size.{odd[0]}", expected="size with shortest_edge and longest_edge")
    least = _first(processor.min_pixels, size.get("shortest_edge"), size.get("min_pixels"), PixelBounds.least)
    most = _first(processor.max_pixels, size.get("longest_edge"), size.get("max_pixels"), PixelBounds.most)
    if not 1 <= least <= min(most, _LARGEST):
        what = f"min_pixels {shown(least)}, max_pixels {shown(most)}"
        raise CheckpointError(f"{path}: {what}", expected=f"1 to {_LARGEST}, the second no less")
    return PixelBounds(least, min(most, _LARGEST))


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
