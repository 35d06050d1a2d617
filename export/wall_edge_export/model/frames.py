"""Camera frames → patches inside the vision graph, value for value as Pillow and ``policies.vision``.

A resize is two matrix products, one for each axis. Facts (python-pillow ``src/libImaging/Resample.c``):
bicubic with a = -0.5, widened by the scale when shrinking; coefficients rounded to 22 fractional bits; each
axis' result rounded (halves up) and clipped to 0..255 before the next; an axis that keeps its size is left
alone. Width comes before height, as in every Pillow before 13, so also when WALL-OSS was published. Pillow 13
begins with the height where that shrinks by more than twice as many pixels as the width does.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    """One axis of ``[cameras, 3, height, width]`` resized, whole numbers to whole numbers.

    A coefficient is the sum of a coarse and a fine part of 11 bits each, so that sums of their products with
    pixels are exact in float32 in any order, also where a GPU multiplies in TF32. That holds while at most 32
    pixels make one (shrinking 7.75 times); beyond, the last bit of a sum may be rounded.

    Both parts are one dense product: a GPU has few kernels to launch for it, and mostly zeros to multiply.
    """

    def __init__(self, axis: int, size_in: int, size_out: int) -> None:
        matrix = torch.from_numpy(resize_matrix(size_in, size_out))
        coarse = torch.round(matrix * _COARSE) / _COARSE
        both = torch.cat((coarse, (matrix - coarse) * _COARSE))
        self._axis, self._size = axis, size_out
        self._both = (both.T if axis == WIDTH else both).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        both = self._both.to(x.device)
        products = x @ both if self._axis == WIDTH else both @ x
        coarse = products.narrow(self._axis, 0, self._size)
        fine = products.narrow(self._axis, self._size, self._size).floor() / _COARSE
        return (coarse + fine + 0.5).floor().clamp(0, 255)


class FrameFrontEnd(nn.Module):
    """Frames ``[height, width, 3]`` uint8 of cameras of one geometry → their patches, camera by camera.

    ``[patches, 3·frames·patch²]`` float32. Resizes, normalises and cuts as ``policies.vision.patches`` does.
    Everything is a constant: the module has no parameters, no buffers and nothing in its state.
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

    def pixels(self, *frames: Tensor) -> Tensor:
        """Resized frames ``[cameras, 3, h, w]``, whole numbers in float32."""
        # The cast comes first: TensorRT takes uint8 for nothing else.
        x = torch.stack([frame.float() for frame in frames]).permute(0, 3, 1, 2)
        for resize in self._resizes:
            x = resize(x)
        return x

    def forward(self, *frames: Tensor) -> Tensor:
        x = self.pixels(*frames)
        x = (x / 255 - self._mean.to(x.device)) / self._std.to(x.device)
        merge, patch = self.geometry.merge_size, self.geometry.patch_size
        rows, columns = self.geometry.cells
        x = x.reshape(-1, 3, rows, merge, patch, columns, merge, patch)
        x = x.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(-1, 3, 1, patch * patch)
        return x.expand(-1, -1, self.geometry.temporal_patch_size, -1).flatten(1)


class CameraFrontEnd(nn.Module):
    """The frames of all cameras → their patches, in the cameras' order; those of one geometry together."""

    def __init__(self, geometries: Sequence[ImageGeometry]) -> None:
        super().__init__()
        self._geometries = tuple(geometries)
        self._front_ends = {geometry: FrameFrontEnd(geometry) for geometry in self._geometries}

    def forward(self, *frames: Tensor) -> Tensor:
        patches: dict[int, Tensor] = {}
        for geometry, front_end in self._front_ends.items():
            cameras = [camera for camera, its in enumerate(self._geometries) if its == geometry]
            cut = front_end(*(frames[camera] for camera in cameras))
            patches |= zip(cameras, cut.chunk(len(cameras)), strict=True)
        return torch.cat([patches[camera] for camera in sorted(patches)])
