"""Two camera views of the table, drawn with Pillow: painter's algorithm, twice the size, averaged down."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.arm import Array
from wall_edge.sim.tabletop.camera import NEAR, SCALE, SIZE, Camera, cross
from wall_edge.sim.tabletop.scene import BLOCK_SIZE, Scene

Colour = tuple[int, int, int]
Spot = tuple[float, float]

CAMERAS = ("face_view", "wrist_view")
# As COLOURS: red, green, blue, yellow, purple.
RGB: tuple[Colour, ...] = ((225, 35, 35), (30, 165, 55), (30, 75, 235), (245, 215, 25), (150, 40, 175))

_MARK: Colour = (12, 12, 12)  # on the top of a touched block
_LINK: Colour = (226, 228, 232)
_JOINT: Colour = (96, 100, 110)
_TIP: Colour = (0, 235, 235)
_LINK_WIDTH = (0.030, 0.026, 0.020)  # m: upper arm, forearm, tool

_TILT = math.radians(19)  # of the wrist camera against the tool

_CORNERS: Array = np.array([(x, y, z) for z in (0, 1) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_MARK_CORNERS: Array = np.array([(x, y, 1.0) for y in (-0.32, 0.32) for x in (-0.32, 0.32)])
_SOLID: Array = np.concatenate((_CORNERS, _MARK_CORNERS)) * BLOCK_SIZE
_ARM_POINTS = 5
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


def render(q: npt.ArrayLike, scene: Scene) -> dict[str, npt.NDArray[np.uint8]]:
    """Frames [84, 84, 3] RGB of `CAMERAS` for joints ``q`` [6] (rad) and the blocks as they are now."""
    joints = np.asarray(q, dtype=np.float64)
    points = arm.forward(joints)
    bases = np.zeros((len(scene.xy), 1, 3))
    bases[:, 0, :2] = scene.xy
    # One list for both cameras: the arm's points first, then twelve of each block.
    world = np.concatenate((points, (bases + _SOLID).reshape(-1, 3)))
    return {"face_view": _face_view(world, scene), "wrist_view": _wrist_view(joints, world, scene)}


def _face_view(world: Array, scene: Scene) -> npt.NDArray[np.uint8]:
    camera, background = _face_camera()
    canvas = background.copy()
    draw = ImageDraw.Draw(canvas)
    spots, depth = _projected(camera, world)
    _draw_blocks(draw, camera, scene, spots, depth)
    # The arm comes last: seen from above, nothing as low as a block can cover it.
    for index, width in enumerate(_LINK_WIDTH, start=1):
        thick = camera.focal * width / max(depth[index], 0.05)
        draw.line((spots[index], spots[index + 1]), fill=_LINK, width=round(thick))
        if index < 3:
            _disc(draw, spots[index], 0.5 * thick, _JOINT)
    _disc(draw, spots[3], 6.0, _JOINT)
    _disc(draw, spots[4], 4.0, _TIP)
    return _finished(canvas)


def _wrist_view(q: Array, world: Array, scene: Scene) -> npt.NDArray[np.uint8]:
    wrist, tip = world[3].copy(), world[4]
    camera = _wrist_camera(q, wrist, tip)
    canvas = camera.table()
    draw = ImageDraw.Draw(canvas)
    world[3] += 0.62 * (tip - wrist)  # the wrist itself is behind the lens: only the fingers are drawn
    spots, depth = _projected(camera, world)
    _draw_blocks(draw, camera, scene, spots, depth)
    draw.line((spots[3], spots[4]), fill=_LINK, width=9)
    _disc(draw, spots[4], 4.0, _TIP)
    return _finished(canvas)


def _projected(camera: Camera, world: Array) -> tuple[list[Spot], list[float]]:
    pixels, depth = camera.project(world)
    return [(x, y) for x, y in pixels.tolist()], depth.tolist()


def _draw_blocks(
    draw: ImageDraw.ImageDraw, camera: Camera, scene: Scene, spots: list[Spot], depth: list[float]
) -> None:
    """Blocks from far to near; of each, the faces turned to the camera."""
    x, y, z = camera.position.tolist()
    away = [(x - block_x, y - block_y) for block_x, block_y in scene.xy.tolist()]
    for block in sorted(range(len(away)), key=lambda index: -(away[index][0] ** 2 + away[index][1] ** 2)):
        first = _ARM_POINTS + block * len(_SOLID)
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


@cache
def _face_camera() -> tuple[Camera, Image.Image]:
    """In front of the robot and above it, looking back; with its picture of table and pedestal."""
    position, look_at = np.array([0.40, 0.0, 0.56]), np.array([0.095, 0.0, 0.03])
    forward = (look_at - position) / np.linalg.norm(look_at - position)
    camera = Camera.looking(position, forward, np.array([0.0, 1.0, 0.0]), math.radians(43))
    background = camera.table()
    pedestal, _ = _projected(camera, arm.forward(arm.REST)[:2])
    ImageDraw.Draw(background).line(pedestal, fill=_JOINT, width=14)
    return camera, background


def _wrist_camera(q: Array, wrist: Array, tip: Array) -> Camera:
    """On the gripper, 5 cm behind the tool's axis, tilted outwards so that the tip is in view."""
    tool = (tip - wrist) / arm.TOOL
    pan, roll = float(q[0]), float(q[4])
    left = np.array([-math.sin(pan), math.cos(pan), 0.0])
    back = cross(left, tool)
    # wrist_roll turns the gripper, and the camera with it, about the tool's axis.
    left, back = math.cos(roll) * left + math.sin(roll) * back, math.cos(roll) * back - math.sin(roll) * left
    forward = math.cos(_TILT) * tool - math.sin(_TILT) * back
    return Camera.looking(wrist + 0.05 * back, forward, -left, math.radians(66))


def _disc(draw: ImageDraw.ImageDraw, spot: Spot, radius: float, fill: Colour) -> None:
    x, y = spot
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _finished(canvas: Image.Image) -> npt.NDArray[np.uint8]:
    small = canvas.reduce(SCALE)
    # A copy of its own: the bytes object would make the array read-only.
    pixels: npt.NDArray[np.uint8] = np.frombuffer(small.tobytes(), dtype=np.uint8).copy()
    return pixels.reshape(SIZE, SIZE, 3)
