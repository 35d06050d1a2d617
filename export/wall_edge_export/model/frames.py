"""Camera frames → patches inside the vision graph, value for value as Pillow and ``policies.vision``.

A resize is two matrix products, one for each axis. Facts (python-pillow ``src/libImaging/Resample.c``):
bicubic with a = -0.5, widened by the scale when shrinking; coefficients rounded to 22 fractional bits; each
axis' result rounded (halves up) and clipped to 0..255 before the next; an axis that keeps its size is left
alone. Width comes before height, as in every Pillow before 13, so also when WALL-OSS was published. Pillow 13
begins with the height where that shrinks by more than twice as many pixels as the width does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from wall_edge.bundle import ImageGeometry
from wall_edge.policies.vision import CLIP_MEAN, CLIP_STD

_COEFFICIENT = 2.0**22
"""Pillow's fixed-point coefficients are multiples of 1 / this."""
_COARSE = 2.0**10
"""Coarse parts of coefficients are multiples of 1 / this: 11 bits then hold either part."""
_BAND = 32
"""Output pixels computed together: they read few input pixels, so most of a matrix' zeros are left out."""

WIDTH, HEIGHT = -1, -2


def resize_matrix(size_in: int, size_out: int) -> npt.NDArray[np.float32]:
    """Pillow's bicubic coefficients ``[size_out, size_in]`` for one axis, exact in float32."""
    scale = size_in / size_out
    centres = (np.arange(size_out) + 0.5) * scale
    x = np.abs(np.arange(size_in) + 0.5 - centres[:, None]) / max(scale, 1.0)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    fixed = weights / weights.sum(axis=1, keepdims=True) * _COEFFICIENT
    rounded = np.trunc(fixed + np.copysign(0.5, fixed))  # halves away from zero
    matrix: npt.NDArray[np.float32] = (rounded / _COEFFICIENT).astype(np.float32)
    return matrix


class _Resize:
    """One axis of ``[3, height, width]`` resized, whole numbers to whole numbers.

    A coefficient is the sum of a coarse and a fine part of 11 bits each, so that sums of their products with
    pixels are exact in float32 in any order, also where a GPU multiplies in TF32. That holds while at most 32
    pixels make one (shrinking 7.75 times); beyond, the last bit of a sum may be rounded.
    """

    def __init__(self, axis: int, size_in: int, size_out: int) -> None:
        self._axis = axis
        self._spans: list[tuple[int, int]] = []
        self._coarse: list[Tensor] = []
        self._fine: list[Tensor] = []
        matrix = resize_matrix(size_in, size_out)
        for start in range(0, size_out, _BAND):
            self._add_band(matrix[start : start + _BAND])

    def _add_band(self, rows: npt.NDArray[np.float32]) -> None:
        used = np.flatnonzero(rows.any(axis=0))
        first, count = int(used[0]), int(used[-1] - used[0]) + 1
        band = torch.from_numpy(rows[:, first : first + count])
        band = (band.T if self._axis == WIDTH else band).contiguous()
        coarse = torch.round(band * _COARSE) / _COARSE
        self._spans.append((first, count))
        self._coarse.append(coarse)
        self._fine.append((band - coarse) * _COARSE)

    def __call__(self, x: Tensor) -> Tensor:
        windows = [x.narrow(self._axis, first, count) for first, count in self._spans]
        fine = self._product(windows, self._fine).floor() / _COARSE
        return (self._product(windows, self._coarse) + fine + 0.5).floor().clamp(0, 255)

    def _product(self, windows: list[Tensor], bands: list[Tensor]) -> Tensor:
        pairs = [(window, band.to(window.device)) for window, band in zip(windows, bands, strict=True)]
        return torch.cat([x @ m if self._axis == WIDTH else m @ x for x, m in pairs], self._axis)


class FrameFrontEnd(nn.Module):
    """A camera's frame ``[height, width, 3]`` uint8 → ``[patches, 3·frames·patch²]`` float32.

    Resizes, normalises and cuts as ``policies.vision.patches`` does. Everything is a
    constant: the module has no parameters, no buffers and nothing in its state.
    """

    def __init__(self, geometry: ImageGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        self._mean = torch.from_numpy(CLIP_MEAN).reshape(3, 1, 1)
        self._std = torch.from_numpy(CLIP_STD).reshape(3, 1, 1)
        self._resizes: list[_Resize] = []
        size = (geometry.width, geometry.height)
        for target in geometry.steps:
            for axis, size_in, size_out in zip((WIDTH, HEIGHT), size, target, strict=True):
                if size_in != size_out:
                    self._resizes.append(_Resize(axis, size_in, size_out))
            size = target

    def pixels(self, frame: Tensor) -> Tensor:
        """``[height, width, 3]`` uint8 → the resized frame ``[3, h, w]``, whole numbers in float32."""
        x = frame.float().permute(2, 0, 1)  # the cast comes first: TensorRT takes uint8 for nothing else
        for resize in self._resizes:
            x = resize(x)
        return x

    def forward(self, frame: Tensor) -> Tensor:
        x = self.pixels(frame)
        x = (x / 255 - self._mean.to(x.device)) / self._std.to(x.device)
        merge, patch = self.geometry.merge_size, self.geometry.patch_size
        rows, columns = self.geometry.cells
        x = x.reshape(3, rows, merge, patch, columns, merge, patch)
        x = x.permute(1, 4, 2, 5, 0, 3, 6).reshape(-1, 3, 1, patch * patch)
        return x.expand(-1, -1, self.geometry.temporal_patch_size, -1).flatten(1)
