"""Frames → patches: sizes by the published rule, order checked pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wall_edge.bundle import ImageGeometry
from wall_edge.bundle.image_geometry import smart_resize
from wall_edge.errors import CameraError
from wall_edge.policies.vision import CLIP_MEAN, CLIP_STD, patches


@pytest.mark.parametrize(
    ("width", "height", "resized", "grid", "tokens"),
    [
        (640, 480, (252, 196), (14, 18), 63),
        (480, 640, (196, 252), (18, 14), 63),
        (256, 256, (252, 252), (18, 18), 81),
        (1280, 720, (252, 140), (10, 18), 45),
    ],
)
def test_sizes(width: int, height: int, resized: tuple[int, int], grid: tuple[int, int], tokens: int) -> None:
    geometry = ImageGeometry(width, height)
    assert (geometry.resized, geometry.grid, geometry.tokens) == (resized, grid, tokens)


@given(st.integers(8, 4000), st.integers(8, 4000))
def test_smart_resize_keeps_its_promises(width: int, height: int) -> None:
    low, high = 4 * 28 * 28, 200 * 28 * 28
    new_width, new_height = smart_resize(width, height, 28, low, high)
    assert new_width % 28 == new_height % 28 == 0
    assert new_width * new_height <= high or min(new_width, new_height) == 28
    assert new_width * new_height >= low


def test_patch_order_pixel_by_pixel() -> None:
    geometry = ImageGeometry(56, 84, resolution=84)
    frame = np.random.default_rng(0).integers(0, 256, (84, 56, 3), dtype=np.uint8)
    made = patches(frame, geometry)
    assert made.shape == (24, 3 * 2 * 14 * 14)
    expected = (frame.astype(np.float32) / 255 - CLIP_MEAN) / CLIP_STD
    # 2x2 neighbours are adjacent: the cells in rows, in each cell the patches in rows.
    corners = [
        (2 * row + i, 2 * column + j)
        for row in range(3)
        for column in range(2)
        for i in (0, 1)
        for j in (0, 1)
    ]
    for number, (row, column) in enumerate(corners):
        block = expected[14 * row : 14 * row + 14, 14 * column : 14 * column + 14].transpose(2, 0, 1)
        values = made[number].reshape(3, 2, 14, 14)
        np.testing.assert_allclose(values[:, 0], block, atol=1e-6)
        np.testing.assert_array_equal(values[:, 0], values[:, 1])


@pytest.mark.parametrize("shape", [(84, 84), (84, 83, 3), (84, 84, 4)])
def test_a_frame_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CameraError, match="84, 84, 3"):
        patches(np.zeros(shape, dtype=np.uint8), ImageGeometry(84, 84, resolution=84))
