"""Two camera views of the table, drawn with Pillow: painter's algorithm, twice the size, averaged down."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wall_edge.array_types import Frame
from wall_edge.sim.blocks import Scene
from wall_edge.sim.drawing.camera import Camera, Table, cross, finished
from wall_edge.sim.drawing.solids import JOINT, LINK, Colour, block_points, disc, draw_blocks, projected
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.arm import Array

CAMERAS = ("face_view", "wrist_view")
SIZE = 84  # of a finished frame, pixels

_TIP: Colour = (0, 235, 235)
_LINK_WIDTH = (0.030, 0.026, 0.020)  # m: upper arm, forearm, tool
_ARM_POINTS = 5
_TILT = math.radians(19)  # of the wrist camera against the tool
_TABLE = Table((-0.06, 0.30), (-0.27, 0.27))


def render(q: npt.ArrayLike, scene: Scene) -> dict[str, Frame]:
    """Frames [84, 84, 3] RGB of `CAMERAS` for joints ``q`` [6] (rad) and the blocks as they are now."""
    joints = np.asarray(q, dtype=np.float64)
    points = arm.forward(joints)
    # One list for both cameras: the arm's points first, then twelve of each block.
    world = np.concatenate((points, block_points(scene)))
    return {"face_view": _face_view(world, scene), "wrist_view": _wrist_view(joints, world, scene)}


def _face_view(world: Array, scene: Scene) -> Frame:
    camera, background = _face_camera()
    canvas = background.copy()
    draw = ImageDraw.Draw(canvas)
    spots, depth = projected(camera, world)
    draw_blocks(draw, camera, scene, spots[_ARM_POINTS:], depth[_ARM_POINTS:])
    # The arm comes last: seen from above, nothing as low as a block can cover it.
    for index, width in enumerate(_LINK_WIDTH, start=1):
        thick = camera.focal * width / max(depth[index], 0.05)
        draw.line((spots[index], spots[index + 1]), fill=LINK, width=round(thick))
        if index < 3:
            disc(draw, spots[index], 0.5 * thick, JOINT)
    disc(draw, spots[3], 6.0, JOINT)
    disc(draw, spots[4], 4.0, _TIP)
    return finished(canvas)


def _wrist_view(q: Array, world: Array, scene: Scene) -> Frame:
    wrist, tip = world[3].copy(), world[4]
    camera = _wrist_camera(q, wrist, tip)
    canvas = camera.view_of(_TABLE)
    draw = ImageDraw.Draw(canvas)
    world[3] += 0.62 * (tip - wrist)  # the wrist itself is behind the lens: only the fingers are drawn
    spots, depth = projected(camera, world)
    draw_blocks(draw, camera, scene, spots[_ARM_POINTS:], depth[_ARM_POINTS:])
    draw.line((spots[3], spots[4]), fill=LINK, width=9)
    disc(draw, spots[4], 4.0, _TIP)
    return finished(canvas)


@cache
def _face_camera() -> tuple[Camera, Image.Image]:
    """In front of the robot and above it, looking back; with its picture of table and pedestal."""
    position, look_at = np.array([0.40, 0.0, 0.56]), np.array([0.095, 0.0, 0.03])
    forward = (look_at - position) / np.linalg.norm(look_at - position)
    camera = Camera.looking(position, forward, np.array([0.0, 1.0, 0.0]), math.radians(43), (SIZE, SIZE))
    background = camera.view_of(_TABLE)
    pedestal, _ = projected(camera, arm.forward(arm.REST)[:2])
    ImageDraw.Draw(background).line(pedestal, fill=JOINT, width=14)
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
    return Camera.looking(wrist + 0.05 * back, forward, -left, math.radians(66), (SIZE, SIZE))
