from itertools import combinations, pairwise

import numpy as np
import pytest

from wall_edge.config import SimulationConfig
from wall_edge.config_loader import from_mapping
from wall_edge.errors import ConfigError
from wall_edge.sim.blocks import EPISODE_STREAM, SPACING, STEP_HZ, Scene
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.drift import Drift, sample_drift
from wall_edge.sim.tabletop.referee import TabletopWorld
from wall_edge.sim.tabletop.render import CAMERAS
from wall_edge.sim.tabletop.scene import HALF_ANGLE, RADIUS, TIME_LIMIT_S, sample_scene, sample_task

DT = 1 / STEP_HZ
EPS = 1e-9


def _path(scene: Scene, drift: Drift, steps: int) -> np.ndarray:
    """Block positions [steps + 1, 3, 2] (m)."""
    path = [scene.xy]
    for _ in range(steps):
        drift.advance(scene, DT)
        path.append(scene.xy)
    return np.array(path)


def _alone(xy: tuple[float, float], velocity: tuple[float, float]) -> tuple[Scene, Drift]:
    """One moving block and two far from its way."""
    scene = Scene(np.arange(3), np.array([xy, (0.06, 0.13), (0.06, -0.13)]))
    return scene, Drift(np.array([velocity, (0.0, 0.0), (0.0, 0.0)]))


def _gaps(path: np.ndarray) -> np.ndarray:
    return np.stack([np.linalg.norm(path[:, a] - path[:, b], axis=-1) for a, b in combinations(range(3), 2)])


@pytest.mark.parametrize("speed", [0.001, 0.01, 0.03, 0.1])
def test_blocks_stay_in_reach_and_apart(speed: float) -> None:
    rng = np.random.default_rng(int(1e4 * speed))
    for _ in range(30):
        path = _path(sample_scene(rng), sample_drift(rng, speed), 360)
        radius, angle = np.linalg.norm(path, axis=-1), np.arctan2(path[..., 1], path[..., 0])
        assert RADIUS[0] - EPS <= radius.min() <= radius.max() <= RADIUS[1] + EPS
        assert np.abs(angle).max() <= HALF_ANGLE + EPS
        assert _gaps(path).min() >= SPACING - EPS


def test_speed_is_constant_and_ways_are_straight_but_for_turns() -> None:
    rng = np.random.default_rng(5)
    waited = turned = moved = 0
    for _ in range(40):
        drift = sample_drift(rng, 0.01)
        path = _path(sample_scene(rng), drift, 360)
        np.testing.assert_allclose(np.linalg.norm(drift.velocities, axis=-1), 0.01)
        steps = np.diff(path, axis=0) / DT
        speed = np.linalg.norm(steps, axis=-1)
        still = speed == 0
        np.testing.assert_allclose(speed[~still], 0.01, rtol=1e-6)
        waited, moved = waited + int(still.sum()), moved + int((~still).sum())
        turned += int((np.linalg.norm(np.diff(steps, axis=0), axis=-1) > 1e-6).sum())
    assert 0 < turned < 0.03 * moved
    assert waited < 0.003 * moved  # a block hemmed in on all sides


@pytest.mark.parametrize(
    ("xy", "velocity", "after"),
    [
        ((RADIUS[1] - 1e-5, 0.0), (0.01, 0.0), (-0.01, 0.0)),
        ((RADIUS[0] + 1e-5, 0.0), (-0.01, 0.0), (0.01, 0.0)),
        ((RADIUS[1] - 1e-5, 0.0), (-0.01, 0.0), (-0.01, 0.0)),
        ((RADIUS[1] - 1e-5, 0.0), (0.008, 0.006), (-0.008, 0.006)),
    ],
)
def test_an_edge_mirrors_a_block(
    xy: tuple[float, float], velocity: tuple[float, float], after: tuple[float, float]
) -> None:
    scene, drift = _alone(xy, velocity)
    drift.advance(scene, DT)
    np.testing.assert_allclose(drift.velocities[0], after, atol=5e-5)  # the edge is a circle
    np.testing.assert_allclose(scene.xy[0], np.array(xy) + DT * drift.velocities[0])


@pytest.mark.parametrize("radius", RADIUS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_block_that_drifts_into_a_corner_comes_out_again(radius: float, side: int) -> None:
    angle = side * HALF_ANGLE
    corner = radius * np.array([np.cos(angle), np.sin(angle)])
    inside = 0.157 * np.array([np.cos(0.9 * angle), np.sin(0.9 * angle)])
    start, way = corner + 0.02 * (inside - corner), 0.02 * (corner - inside)
    scene = Scene(np.arange(3), np.array([start, (0.15, 0.0), (0.12, -side * 0.1)]))
    drift = Drift(np.array([way, (0.0, 0.0), (0.0, 0.0)]) / np.linalg.norm(corner - inside))
    path = _path(scene, drift, 60)[:, 0]
    distance = np.linalg.norm(path - corner, axis=-1)
    assert distance.min() < 0.001
    assert distance[-1] > 0.015


@pytest.mark.parametrize("towards", [(0.01, -0.01), (0.01, 0.005), (0.01, 0.0)])
def test_blocks_that_meet_both_turn_away(towards: tuple[float, float]) -> None:
    half = SPACING / 2 + 1e-5
    scene = Scene(np.arange(3), np.array([(0.16, -half), (0.16, half), (5.0, 5.0)]))
    drift = Drift(np.array([(0.0, towards[0]), (0.0, towards[1]), (0.0, 0.0)]))
    drift.advance(scene, DT)
    np.testing.assert_allclose(drift.velocities[:2, 1], (-abs(towards[0]), abs(towards[1])), atol=1e-12)
    assert _gaps(scene.xy[None])[0, 0] >= SPACING


def test_one_number_and_one_seed_make_one_episode_whatever_the_arm_does() -> None:
    first, second = (TabletopWorld(seed=3, time_limit_s=3.0, drift_m_s=0.01) for _ in range(2))
    poses = np.random.default_rng(0).uniform(-0.5, 0.5, (60, 6))
    for pose in poses:
        first.step(arm.REST)
        second.step(pose)
        second.frames(pose)
        np.testing.assert_array_equal(first.episode.scene.xy, second.episode.scene.xy)
    second.step(arm.REST)
    a, b = first.new_episode(4), second.new_episode(4)
    np.testing.assert_array_equal(a.scene.xy, b.scene.xy)
    ways = [(first.step(arm.REST), first.episode.scene.xy)[1] for _ in range(20)]
    again = [(second.step(arm.REST), second.episode.scene.xy)[1] for _ in range(20)]
    np.testing.assert_array_equal(ways, again)


def test_without_drift_the_table_is_what_it_was_and_stands() -> None:
    still, drifting = TabletopWorld(seed=6), TabletopWorld(seed=6, drift_m_s=0.02)
    for index in range(20):
        rng = np.random.default_rng([EPISODE_STREAM, 6, index])
        scene = sample_scene(rng, clear_of=arm.tip(arm.REST)[:2].tolist())
        task = sample_task(rng, scene)
        for world in (still, drifting):
            episode = world.new_episode(index)
            np.testing.assert_array_equal(episode.scene.xy, scene.xy)
            np.testing.assert_array_equal(episode.scene.colours, scene.colours)
            assert episode.task == task
        for _ in range(30):
            still.step(arm.REST)
            drifting.step(arm.REST)
        np.testing.assert_array_equal(still.episode.scene.xy, scene.xy)
        moved = np.linalg.norm(drifting.episode.scene.xy - scene.xy, axis=-1)
        assert moved.max() <= 0.02 + EPS
        assert moved.max() > 0.005


def test_a_touched_block_goes_on_and_a_finished_episode_stands() -> None:
    world = TabletopWorld(seed=2, time_limit_s=1.0, drift_m_s=0.01)
    world.episode.scene.touched[:] = True
    places = [world.episode.scene.xy]
    while world.episode.status == "running":
        world.step(arm.REST)
        places.append(world.episode.scene.xy)
    assert len(places) == STEP_HZ + 1
    assert all((before != after).any(axis=-1).all() for before, after in pairwise(places))
    world.step(arm.REST)
    np.testing.assert_array_equal(world.episode.scene.xy, places[-1])


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_cameras_see_blocks_drift(camera: str) -> None:
    world = TabletopWorld(seed=1, drift_m_s=0.02)
    q = arm.inverse((*world.episode.scene.xy[0], 0.1))
    before = world.frames(q)[camera]
    for _ in range(15):
        world.step(q)
    after = world.frames(q)[camera]
    assert (np.abs(after.astype(int) - before).max(axis=-1) > 60).sum() >= 8
    np.testing.assert_array_equal(world.frames(q)[camera], after)


def test_the_configuration_has_the_defaults_of_the_world() -> None:
    config = SimulationConfig()
    assert (config.drift_mm_s, config.time_limit_s) == (0.0, TIME_LIMIT_S)


@pytest.mark.parametrize(
    ("key", "value"),
    [("drift_mm_s", -1.0), ("drift_mm_s", 100.1), ("time_limit_s", 0.0), ("time_limit_s", 1e9)],
)
def test_what_no_table_can_do_is_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"simulation: {key} is {value}"):
        from_mapping(SimulationConfig, {key: value}, "simulation")
