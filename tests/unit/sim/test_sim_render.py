import numpy as np
import pytest

from wall_edge.sim.blocks import TOUCH_HEIGHT, Scene
from wall_edge.sim.drawing.solids import RGB
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.render import CAMERAS, render
from wall_edge.sim.tabletop.scene import sample_scene


def _pixels_like(frame: np.ndarray, rgb: tuple[int, int, int], within: int = 40) -> int:
    return int((np.abs(frame.astype(int) - rgb).max(axis=-1) <= within).sum())


def _scene(*colours: int) -> Scene:
    return Scene(np.array(colours), np.array([[0.14, 0.10], [0.16, 0.0], [0.14, -0.10]]))


def test_frames_have_the_promised_keys_shape_and_type() -> None:
    frames = render(arm.REST, _scene(0, 1, 2))
    assert tuple(frames) == CAMERAS == ("face_view", "wrist_view")
    for frame in frames.values():
        assert frame.shape == (84, 84, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.writeable


@pytest.mark.parametrize("colours", [(0, 1, 2), (3, 4, 0)])
def test_the_face_view_shows_the_blocks_that_are_there_and_no_others(colours: tuple[int, ...]) -> None:
    face = render(arm.REST, _scene(*colours))["face_view"]
    for colour, rgb in enumerate(RGB):
        assert (_pixels_like(face, rgb) >= 15) == (colour in colours)


def test_hovering_shows_the_block_in_the_middle_of_the_wrist_view() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        scene = sample_scene(rng)
        hover = arm.inverse((*scene.xy[0], TOUCH_HEIGHT + 0.043))
        middle = render(hover, scene)["wrist_view"][24:66, 24:60]
        assert _pixels_like(middle, RGB[int(scene.colours[0])]) >= 60


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_touched_block_looks_different_even_under_the_tip(camera: str) -> None:
    scene = _scene(0, 1, 2)
    q = arm.inverse((*scene.xy[0], TOUCH_HEIGHT))
    before = render(q, scene)[camera].astype(int)
    scene.touched[0] = True
    changed = np.abs(render(q, scene)[camera] - before).max(axis=-1) > 60
    assert changed.sum() >= 8


def test_the_table_tells_where_the_camera_is() -> None:
    far = Scene(np.array([0, 1, 2]), np.full((3, 2), -5.0))
    poses = [(0.12, 0.12, 0.09), (0.20, 0.0, 0.09), (0.12, -0.12, 0.09)]
    spots = [render(arm.inverse(xyz), far)["wrist_view"][50:60, 40:44] for xyz in poses]
    left, ahead, right = (spot.reshape(-1, 3).mean(axis=0) for spot in spots)
    assert left[2] - right[2] > 15  # blue grows with y
    assert ahead[0] - left[0] > 5  # red grows with x


def test_any_pose_can_be_drawn() -> None:
    rng = np.random.default_rng(3)
    for q in rng.uniform(arm.LOWER, arm.UPPER, size=(100, 6)):
        render(q, _scene(0, 1, 2))


def test_the_gripper_camera_turns_with_wrist_roll() -> None:
    q = arm.inverse((0.16, 0.0, 0.09))
    turned = q + np.array([0, 0, 0, 0, 0.5, 0])
    straight, rolled = render(q, _scene(0, 1, 2)), render(turned, _scene(0, 1, 2))
    np.testing.assert_array_equal(straight["face_view"], rolled["face_view"])
    assert (straight["wrist_view"] != rolled["wrist_view"]).mean() > 0.3
