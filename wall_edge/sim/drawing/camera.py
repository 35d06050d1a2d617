"""A pinhole camera and the table it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from wall_edge.array_types import Floats, Frame

SCALE = 2  # everything is drawn this much larger, then averaged down
NEAR = 0.01  # m; what is closer to the lens plane is not drawn

_TO_DRAWN: Floats = np.array([SCALE, SCALE, 1.0])
_TEXEL = 0.002  # m per texture pixel
_TILE = 0.03
_DRIFT = 32
_FLOOR = (38, 40, 46)


def cross(a: Floats, b: Floats) -> Floats:
    """Cross product of two vectors [3]; numpy's own takes ten times as long for a single pair."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


class Table:
    """Faint tiles under a drift of colour, red along x, blue along y, so that a place has a look.

    ``x`` and ``y`` are its edges in m.
    """

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.corner = x[0], y[0]
        at_x = np.arange(*x, _TEXEL) + _TEXEL / 2
        at_y = np.arange(*y, _TEXEL) + _TEXEL / 2
        along_x, along_y = np.meshgrid(
            np.linspace(-1, 1, at_x.size), np.linspace(-1, 1, at_y.size), indexing="ij"
        )
        tiles = 3 * ((np.floor(at_x / _TILE)[:, None] + np.floor(at_y / _TILE)[None, :]) % 2)
        colour = np.stack(
            (132 + _DRIFT * along_x, np.full_like(along_x, 128), 128 + _DRIFT * along_y), axis=-1
        )
        self.texture = Image.fromarray((colour + tiles[..., None]).round().astype(np.uint8))


@dataclass(frozen=True)
class Camera:
    """``position`` [3] (m), ``axes`` [3, 3] with rows right, down, forward, ``focal`` in drawn pixels.

    ``size`` is the width and height of a finished frame in pixels.
    """

    position: Floats
    axes: Floats
    focal: float
    size: tuple[int, int]

    @staticmethod
    def looking(
        position: Floats, forward: Floats, right: Floats, field_of_view: float, size: tuple[int, int]
    ) -> Camera:
        """A camera whose image is ``field_of_view`` radians wide; ``forward`` ⟂ ``right``, both unit [3]."""
        focal = size[0] * SCALE / 2 / math.tan(field_of_view / 2)
        return Camera(position, np.array((right, cross(forward, right), forward)), focal, size)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Drawn pixels [N, 2] and depth [N] (m) of points [N, 3]; closer than `NEAR` is not drawable."""
        points_in_view = (points - self.position).dot(self.axes.T)
        depth = points_in_view[:, 2]
        centre = np.array(self.size) * SCALE / 2
        pixels = points_in_view[:, :2] * (self.focal / np.maximum(depth, NEAR))[:, None] + centre
        return pixels, depth

    def view_of(self, table: Table) -> Image.Image:
        """The table and the floor round it, in drawn pixels."""
        # The ray of drawn pixel (u, v, 1) is rays @ (u, v, 1); it meets z = 0 at position - z·ray / ray_z.
        width, height = self.size
        rays = self.axes.T @ np.array([[1, 0, -width], [0, 1, -height], [0, 0, self.focal]]) * _TO_DRAWN
        x, y, z = self.position
        lookup = np.empty((3, 3))
        lookup[0] = ((y - table.corner[1]) * rays[2] - z * rays[1]) / _TEXEL
        lookup[1] = ((x - table.corner[0]) * rays[2] - z * rays[0]) / _TEXEL
        lookup[2] = rays[2]
        last = float(lookup[2, 2])
        lookup /= last if abs(last) > 1e-9 else 1e-9  # Pillow wants 1 there
        # Looked up at the finished size: the colours are smooth, and it takes a third of the time.
        small = table.texture.transform(
            self.size, Image.Transform.PERSPECTIVE, lookup.ravel()[:8].tolist(), fillcolor=_FLOOR
        )
        return small.resize((width * SCALE, height * SCALE), Image.Resampling.NEAREST)


def finished(canvas: Image.Image) -> Frame:
    """The frame [height, width, 3] of a drawn canvas."""
    small = canvas.reduce(SCALE)
    # A copy of its own: the bytes object would make the array read-only.
    pixels: Frame = np.frombuffer(small.tobytes(), dtype=np.uint8).copy()
    return pixels.reshape(small.height, small.width, 3)
