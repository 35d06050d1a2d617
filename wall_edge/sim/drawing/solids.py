"""Blocks, discs and colours, drawn in a camera's projection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import ImageDraw

from wall_edge.array_types import Floats
from wall_edge.sim.blocks import BLOCK_SIZE, Scene
from wall_edge.sim.drawing.camera import NEAR, Camera

Colour = tuple[int, int, int]
Spot = tuple[float, float]

# As COLOURS: red, green, blue, yellow, purple.
RGB: tuple[Colour, ...] = ((225, 35, 35), (30, 165, 55), (30, 75, 235), (245, 215, 25), (150, 40, 175))
LINK: Colour = (226, 228, 232)
JOINT: Colour = (96, 100, 110)
_MARK: Colour = (12, 12, 12)  # on the top of a touched block

_CORNERS: Floats = np.array([(x, y, z) for z in (0, 1) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_MARK_CORNERS: Floats = np.array([(x, y, 1.0) for y in (-0.32, 0.32) for x in (-0.32, 0.32)])
_SOLID: Floats = np.concatenate((_CORNERS, _MARK_CORNERS)) * BLOCK_SIZE
_TOP, _MARKED = (4, 5, 7, 6), (8, 9, 11, 10)


def _shaded(light: float) -> tuple[Colour, ...]:
    return tuple((int(red * light), int(green * light), int(blue * light)) for red, green, blue in RGB)


# Side faces: corners, the axis and sign of the outward normal, colours.
_SIDES = (
    ((1, 3, 7, 5), 0, 1, _shaded(0.72)),
    ((0, 2, 6, 4), 0, -1, _shaded(0.72)),
    ((2, 3, 7, 6), 1, 1, _shaded(0.55)),
    ((0, 1, 5, 4), 1, -1, _shaded(0.55)),
)


def block_points(scene: Scene) -> Floats:
    """Points [12·blocks, 3] (m) that :func:`draw_blocks` wants projected, block by block."""
    bases = np.zeros((len(scene.xy), 1, 3))
    bases[:, 0, :2] = scene.xy
    return (bases + _SOLID).reshape(-1, 3)


def projected(camera: Camera, world: Floats) -> tuple[list[Spot], list[float]]:
    """Drawn pixels and depths (m) of points [N, 3], as Pillow takes them."""
    pixels, depth = camera.project(world)
    return [(x, y) for x, y in pixels.tolist()], depth.tolist()


def draw_blocks(
    draw: ImageDraw.ImageDraw, camera: Camera, scene: Scene, spots: Sequence[Spot], depth: Sequence[float]
) -> None:
    """Blocks from far to near; of each, the faces turned to the camera. Spots of :func:`block_points`."""
    x, y, z = camera.position.tolist()
    away = [(x - block_x, y - block_y) for block_x, block_y in scene.xy.tolist()]
    for block in sorted(range(len(away)), key=lambda index: -(away[index][0] ** 2 + away[index][1] ** 2)):
        first = block * len(_SOLID)
        if min(depth[first : first + len(_SOLID)]) < NEAR:
            continue
        colour = int(scene.colours[block])
        for corners, axis, sign, shades in _SIDES:
            if sign * away[block][axis] > BLOCK_SIZE / 2:
                draw.polygon([spots[first + corner] for corner in corners], fill=shades[colour])
        if z > BLOCK_SIZE:
            draw.polygon([spots[first + corner] for corner in _TOP], fill=RGB[colour])
            if scene.touched[block]:
                draw.polygon([spots[first + corner] for corner in _MARKED], fill=_MARK)


def disc(draw: ImageDraw.ImageDraw, spot: Spot, radius: float, fill: Colour) -> None:
    """A filled circle of ``radius`` drawn pixels."""
    x, y = spot
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
