"""What the three cameras see."""

import numpy as np

from wall_edge.sim.blocks import Scene
from wall_edge.sim.drawing.solids import RGB
from wall_edge.sim.two_handed import arm
from wall_edge.sim.two_handed.render import CAMERAS, SIZES, face_cells, render

RED, GREEN, BLUE = range(3)


def _scene() -> Scene:
    return Scene(np.array([RED, GREEN, BLUE]), np.array([[0.15, -0.18], [0.24, 0.0], [0.15, 0.18]]))


def _where(frame: np.ndarray, colour: int) -> np.ndarray:
    """Row and column of the middle of a colour's pixels."""
    near = np.abs(frame.astype(int) - RGB[colour]).max(axis=-1) < 12
    assert near.sum() > 20
    return np.argwhere(near).mean(axis=0)


def test_frames_have_the_sizes_that_they_promise() -> None:
    frames = render(arm.forward(arm.REST), _scene())
    assert tuple(frames) == CAMERAS
    for camera, frame in frames.items():
        assert frame.dtype == np.uint8
        assert frame.flags.writeable
        assert frame.shape == (SIZES[camera][1], SIZES[camera][0], 3)


def test_the_front_view_looks_back_and_shows_every_corner_of_the_blocks_area() -> None:
    face = render(arm.forward(arm.REST), _scene())["face_view"]
    (_, red), (low, _), (high, blue) = (_where(face, colour) for colour in (RED, GREEN, BLUE))
    assert red < 70 < blue  # the robot's left is on the right of the picture
    assert low > high  # what is farther from the robot is nearer to the camera
    corners = np.array([(x, y, z) for x in (0.11, 0.27) for y in (-0.21, 0.21) for z in (0.0, 0.04)])
    assert face_cells(corners)[1].all()


def test_a_cell_is_where_the_block_is_drawn() -> None:
    scene = _scene()
    face = render(arm.forward(arm.REST), scene)["face_view"]
    cells, seen = face_cells(np.column_stack((scene.xy, np.full(3, 0.04))))
    assert seen.all()
    for block, cell in enumerate(cells):
        row, column = _where(face, block)
        assert abs(row - 28 * (cell // 5) - 14) < 18
        assert abs(column - 28 * (cell % 5) - 14) < 18


def test_a_touched_block_bears_a_mark_in_every_view_that_shows_it() -> None:
    scene, slots = _scene(), arm.forward(arm.REST)
    before = render(slots, scene)
    scene.touched[2] = True
    after = render(slots, scene)
    assert (before["face_view"] != after["face_view"]).any()
    assert (before["left_wrist_view"] != after["left_wrist_view"]).any()
    np.testing.assert_array_equal(before["right_wrist_view"], after["right_wrist_view"])


def test_the_hands_look_different_and_their_grippers_are_seen_to_close() -> None:
    slots = arm.forward(arm.REST)
    first = render(slots, _scene())
    closed = slots.copy()
    closed[6] = 0.0
    second = render(closed, _scene())
    assert (first["face_view"] != second["face_view"]).any()
    assert (first["left_wrist_view"] != second["left_wrist_view"]).any()
    left, right = (first[f"{hand}_wrist_view"].reshape(-1, 3).astype(int) for hand in ("left", "right"))
    cyan, pink = (
        (np.abs(view - tip).max(axis=1) < 12).sum()
        for view, tip in ((left, (0, 235, 235)), (right, (250, 120, 200)))
    )
    assert cyan > 30
    assert pink > 30


def test_a_wrist_camera_turns_with_its_tool() -> None:
    slots = arm.forward(arm.REST)
    turned = slots.copy()
    turned[5] += 0.5
    first, second = render(slots, _scene()), render(turned, _scene())
    assert (first["left_wrist_view"] != second["left_wrist_view"]).mean() > 0.3
    np.testing.assert_array_equal(first["right_wrist_view"], second["right_wrist_view"])
