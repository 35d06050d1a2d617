import numpy as np
import pytest

from wall_edge.sim.blocks import TOUCH_HEIGHT
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.scene import HALF_ANGLE, RADIUS


def _workspace(count: int = 500) -> np.ndarray:
    rng = np.random.default_rng(0)
    radius, angle = rng.uniform(*RADIUS, count), rng.uniform(-HALF_ANGLE, HALF_ANGLE, count)
    height = rng.uniform(TOUCH_HEIGHT, TOUCH_HEIGHT + 0.045, count)
    return np.column_stack((radius * np.cos(angle), radius * np.sin(angle), height))


def test_inverse_then_forward_returns_the_target_with_the_tool_down() -> None:
    xyz = _workspace()
    q = arm.inverse(xyz)
    points = arm.forward(q)
    np.testing.assert_allclose(arm.tip(q), xyz, atol=1e-9)
    np.testing.assert_allclose(points[:, 3, :2], points[:, 4, :2], atol=1e-9)
    assert (points[:, 3, 2] > points[:, 4, 2]).all()


def test_links_keep_their_lengths_in_any_pose() -> None:
    q = np.random.default_rng(1).uniform(arm.LOWER, arm.UPPER, size=(3, 50, 6))
    points = arm.forward(q)
    assert points.shape == (3, 50, 5, 3)
    lengths = np.linalg.norm(np.diff(points, axis=-2), axis=-1)
    expected = [arm.SHOULDER_HEIGHT, arm.UPPER_ARM, arm.FOREARM, arm.TOOL]
    np.testing.assert_allclose(lengths, np.broadcast_to(expected, lengths.shape), atol=1e-12)
    np.testing.assert_allclose(points[..., 4, :], arm.tip(q), atol=1e-12)


@pytest.mark.parametrize("xyz", [(5.0, 1.0, 0.05), (-0.2, 0.05, 0.05), (0.0, 0.0, 0.12), (0.1, 0.0, 9.0)])
def test_unreachable_targets_give_joints_within_the_limits(xyz: tuple[float, float, float]) -> None:
    q = arm.inverse(xyz)
    assert np.isfinite(q).all()
    assert (q >= arm.LOWER).all()
    assert (q <= arm.UPPER).all()


def test_a_target_too_far_away_is_projected_in_its_own_direction() -> None:
    tip = arm.tip(arm.inverse((0.6, 0.3, 0.05)))
    assert np.arctan2(tip[1], tip[0]) == pytest.approx(np.arctan2(0.3, 0.6))
    assert np.hypot(tip[0], tip[1]) > RADIUS[1]


def test_rest_is_over_the_table_and_off_the_limits() -> None:
    assert (arm.REST[:4] > arm.LOWER[:4] + 0.05).all()
    assert (arm.REST[:4] < arm.UPPER[:4] - 0.05).all()
    assert arm.tip(arm.REST)[2] > 0.1
