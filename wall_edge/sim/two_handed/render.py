"""Camera frames of the two-handed world, drawn from the poses of the tips alone."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wall_edge.array_types import Floats, Frame
from wall_edge.sim.blocks import Scene
from wall_edge.sim.drawing.camera import NEAR, Camera, Table, finished
from wall_edge.sim.drawing.solids import JOINT, LINK, Colour, block_points, disc, draw_blocks, projected
from wall_edge.sim.two_handed.hands import BASES, HANDS, SHOULDER_HEIGHT, TOOL, Hands, elbow

CAMERAS = ("face_view", "left_wrist_view", "right_wrist_view")
SIZES: dict[str, tuple[int, int]] = {
    "face_view": (140, 84),
    "left_wrist_view": (84, 84),
    "right_wrist_view": (84, 84),
}
"""Width and height in pixels."""

# The fingertips differ, and so do the grippers above them: which hand is which can be seen.
_TIPS: tuple[Colour, Colour] = ((0, 235, 235), (250, 120, 200))
_LINK_WIDTH = (0.034, 0.028, 0.020)  # m: upper arm, forearm, tool
_FINGERS = (0.006, 0.026)  # m between the fingers and the tool's axis: closed, open
_FINGER = 0.035  # m
_ARM_POINTS = 2 * 6
_TILT = math.radians(19)  # of a wrist camera against the tool
_TABLE = Table((-0.10, 0.42), (-0.42, 0.42))


def render(slots: npt.ArrayLike, scene: Scene) -> dict[str, Frame]:
    """Frames [height, width, 3] RGB of `CAMERAS` for both hands' ``slots`` [14] and the blocks."""
    hands = Hands.of(slots)
    world = np.concatenate((_arm_points(hands), block_points(scene)))
    frames = {"face_view": _face_view(hands, world, scene)}
    for index, hand in enumerate(HANDS):
        frames[f"{hand}_wrist_view"] = _wrist_view(index, hands, world, scene)
    return frames


def _arm_points(hands: Hands) -> Floats:
    """Of each arm: shoulder, elbow, wrist, knuckles, tips of both fingers [12, 3] (m)."""
    points = []
    for hand, wrist in enumerate(hands.wrists()):
        shoulder = BASES[hand] + [0.0, 0.0, SHOULDER_HEIGHT]
        tip, rotation = hands.position[hand], hands.rotation[hand]
        apart = _FINGERS[0] + float(hands.gripper[hand]) * (_FINGERS[1] - _FINGERS[0])
        sideways = apart * rotation[:, 1]
        points += [shoulder, elbow(BASES[hand], wrist), wrist, tip + _FINGER * rotation[:, 2]]
        points += [tip - sideways, tip + sideways]
    return np.array(points)


def _face_view(hands: Hands, world: Floats, scene: Scene) -> Frame:
    camera, background = _face_camera()
    canvas = background.copy()
    draw = ImageDraw.Draw(canvas)
    spots, depth = projected(camera, world)
    draw_blocks(draw, camera, scene, spots[_ARM_POINTS:], depth[_ARM_POINTS:])
    # The arms come last, the one nearer to the camera on top: nothing as low as a block can cover them.
    nearest = sorted((0, 1), key=lambda hand: float(hands.position[hand, 0]))
    for hand in nearest:
        arm = spots[6 * hand : 6 * hand + 6]
        far = depth[6 * hand : 6 * hand + 6]
        for index, width in enumerate(_LINK_WIDTH):
            thick = camera.focal * width / max(far[index + 1], 0.05)
            draw.line((arm[index], arm[index + 1]), fill=LINK, width=round(thick))
            disc(draw, arm[index + 1], 0.5 * thick, JOINT)
        _draw_fingers(draw, arm, camera.focal / max(far[3], 0.05), _TIPS[hand])
    return finished(canvas)


def _wrist_view(wrist: int, hands: Hands, world: Floats, scene: Scene) -> Frame:
    camera = _wrist_camera(hands.position[wrist], hands.rotation[wrist])
    canvas = camera.view_of(_TABLE)
    draw = ImageDraw.Draw(canvas)
    spots, depth = projected(camera, world)
    draw_blocks(draw, camera, scene, spots[_ARM_POINTS:], depth[_ARM_POINTS:])
    for hand in (1 - wrist, wrist):
        arm, far = spots[6 * hand : 6 * hand + 6], depth[6 * hand : 6 * hand + 6]
        if min(far[3:]) < 5 * NEAR:
            continue
        scale = camera.focal / far[3]
        # The wrist that bears the camera is behind the lens: of that hand only the fingers are drawn.
        if hand != wrist and far[2] > 5 * NEAR:
            draw.line((arm[2], arm[3]), fill=LINK, width=round(scale * _LINK_WIDTH[2]))
        _draw_fingers(draw, arm, scale, _TIPS[hand])
    return finished(canvas)


def _draw_fingers(
    draw: ImageDraw.ImageDraw, arm: list[tuple[float, float]], scale: float, colour: Colour
) -> None:
    """The palm and two fingers; ``scale`` in drawn pixels a metre."""
    disc(draw, arm[3], 0.013 * scale, colour)
    for finger in arm[4:6]:
        draw.line((arm[3], finger), fill=colour, width=max(2, round(0.008 * scale)))
        disc(draw, finger, 0.007 * scale, colour)


@cache
def _face_camera() -> tuple[Camera, Image.Image]:
    """In front of the robot and above it, looking back; with its picture of the table.

    Framed tightly: a block is 11 pixels wide.
    """
    position, look_at = np.array([0.50, 0.0, 0.56]), np.array([0.170, 0.0, 0.04])
    forward = (look_at - position) / np.linalg.norm(look_at - position)
    camera = Camera.looking(
        position, forward, np.array([0.0, 1.0, 0.0]), math.radians(46), SIZES["face_view"]
    )
    return camera, camera.view_of(_TABLE)


def _wrist_camera(tip: Floats, rotation: Floats) -> Camera:
    """On the gripper, 5 cm behind the tool's axis, tilted outwards so that the tip is in view."""
    ahead, left, up = rotation.T
    forward = math.sin(_TILT) * ahead - math.cos(_TILT) * up
    position = tip + (TOOL + 0.03) * up - 0.05 * ahead
    return Camera.looking(position, forward, -left, math.radians(66), (84, 84))


def face_cells(points: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Which 28-pixel cell of the front view shows each of the points [N, 3], row by row; whether one does."""
    camera, _ = _face_camera()
    pixels, _ = camera.project(points)
    width, height = (side // 28 for side in SIZES["face_view"])
    column, row = np.floor(pixels.T / (28 * 2)).astype(np.int64)
    visible = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return row * width + column, visible
