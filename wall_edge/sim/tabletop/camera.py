"""A pinhole camera and the table it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from wall_edge.sim.tabletop.arm import Array

SIZE = 84  # of a finished frame, pixels
SCALE = 2  # everything is drawn this much larger, then averaged down
_TO_DRAWN: Array = np.array([SCALE, SCALE, 1.0])

_TABLE_X = (-0.06, 0.30)
_TABLE_Y = (-0.27, 0.27)
_TEXEL = 0.002  # m per texture pixel
_TILE = 0.03
_DRIFT = 32
_FLOOR = (38, 40, 46)
NEAR = 0.01  # m; what is closer to the lens plane is not drawn


def cross(a: Array, b: Array) -> Array:
    """Cross product of two vectors [3]; numpy's own takes ten times as long for a single pair."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


@dataclass(frozen=True)
class Camera:
    """``position`` [3] (m), ``axes`` [3, 3] with rows right, down, forward, ``focal`` in drawn pixels."""

    position: Array
    axes: Array
    focal: float

    @staticmethod
    def looking(position: Array, forward: Array, right: Array, field_of_view: float) -> Camera:
        """A camera whose image spans ``field_of_view`` radians; ``forward`` ⟂ ``right``, both unit [3]."""
        focal = SIZE * SCALE / 2 / math.tan(field_of_view / 2)
        return Camera(position, np.array((right, cross(forward, right), forward)), focal)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Drawn pixels [N, 2] and depth [N] (m) of points [N, 3]; closer than `NEAR` is not drawable."""
        points_in_view = (points - self.position).dot(self.axes.T)
        depth = points_in_view[:, 2]
        pixels = points_in_view[:, :2] * (self.focal / np.maximum(depth, NEAR))[:, None] + SIZE * SCALE / 2
        return pixels, depth

    def table(self) -> Image.Image:
        """The table and the floor round it, in drawn pixels."""
        # The ray of drawn pixel (u, v, 1) is rays @ (u, v, 1); it meets z = 0 at position - z·ray / ray_z.
        rays = self.axes.T @ np.array([[1, 0, -SIZE], [0, 1, -SIZE], [0, 0, self.focal]]) * _TO_DRAWN
        x, y, z = self.position
        lookup = np.empty((3, 3))
        lookup[0] = ((y - _TABLE_Y[0]) * rays[2] - z * rays[1]) / _TEXEL
        lookup[1] = ((x - _TABLE_X[0]) * rays[2] - z * rays[0]) / _TEXEL
        lookup[2] = rays[2]
        last = float(lookup[2, 2])
        lookup /= last if abs(last) > 1e-9 else 1e-9  # Pillow wants 1 there
        # Looked up at the finished size: the colours are smooth, and it takes a third of the time.
        small = _TEXTURE.transform(
            (SIZE, SIZE), Image.Transform.PERSPECTIVE, lookup.ravel()[:8].tolist(), fillcolor=_FLOOR
        )
        return small.resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.NEAREST)


def _texture() -> Image.Image:
    """Faint tiles under a drift of colour: red along x, blue along y, so that a place has a look."""
    x = np.arange(*_TABLE_X, _TEXEL) + _TEXEL / 2
    y = np.arange(*_TABLE_Y, _TEXEL) + _TEXEL / 2
    along_x, along_y = np.meshgrid(np.linspace(-1, 1, x.size), np.linspace(-1, 1, y.size), indexing="ij")
    tiles = 3 * ((np.floor(x / _TILE)[:, None] + np.floor(y / _TILE)[None, :]) % 2)
    colour = np.stack((132 + _DRIFT * along_x, np.full_like(along_x, 128), 128 + _DRIFT * along_y), axis=-1)
    return Image.fromarray((colour + tiles[..., None]).round().astype(np.uint8))


_TEXTURE = _texture()
