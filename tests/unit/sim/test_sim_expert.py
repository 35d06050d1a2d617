import numpy as np
import pytest

from wall_edge.sim.blocks import TOUCH_HEIGHT, TOUCH_RADIUS
from wall_edge.sim.tabletop import arm, expert
from wall_edge.sim.tabletop.scene import Episode, sample_scene, sample_task

EPISODES = 200


def _play(seed: int, replan_every: int) -> Episode:
    rng = np.random.default_rng(seed)
    q = arm.REST.copy()
    scene = sample_scene(rng, clear_of=arm.tip(q)[:2].tolist())
    episode = Episode(scene, sample_task(rng, scene))
    while episode.status == "running":
        for commanded in expert.rollout(q, episode.target_xy, replan_every):
            q = expert.follow(q, commanded)
            episode.step(q)
    return episode


@pytest.mark.parametrize("replan_every", [1, 8])
def test_the_demonstrator_finishes_its_episodes(replan_every: int) -> None:
    episodes = [_play(seed, replan_every) for seed in range(EPISODES)]
    success = [episode.status == "success" for episode in episodes]
    assert np.mean(success) >= 0.99
    assert 1.5 < np.median([episode.seconds for episode in episodes]) < 5


def test_a_rollout_is_the_closed_loop() -> None:
    q, target = arm.REST.copy(), np.array([0.10, -0.14])
    for commanded in expert.rollout(q, target, 12):
        np.testing.assert_allclose(commanded, expert.command(q, target))
        q = q + 0.6 * (commanded - q)


def test_a_batch_gives_what_single_calls_give() -> None:
    rng = np.random.default_rng(0)
    target = rng.uniform((0.1, -0.1), (0.15, 0.1), size=(2, 3, 2))
    q = arm.inverse(np.concatenate((target[..., ::-1] + 0.05, np.full((2, 3, 1), 0.07)), axis=-1))
    batch = expert.rollout(q, target)
    assert batch.shape == (2, 3, 24, 6)
    np.testing.assert_allclose(batch[1, 2], expert.rollout(q[1, 2], target[1, 2]), atol=1e-12)


def test_low_and_far_away_it_rises_before_it_crosses() -> None:
    start, target = np.array([0.15, 0.12, TOUCH_HEIGHT]), np.array([0.15, -0.12])
    q = arm.inverse(start)
    for commanded in expert.rollout(q, target, 120):
        q = expert.follow(q, commanded)
        tip = arm.tip(q)
        travelled, left = np.linalg.norm(tip[:2] - start[:2]), np.linalg.norm(tip[:2] - target)
        if travelled > 0.035 and left > 0.05:
            assert tip[2] > TOUCH_HEIGHT + TOUCH_RADIUS
    np.testing.assert_allclose(tip, [*target, TOUCH_HEIGHT], atol=1e-3)


def test_on_the_target_it_stays() -> None:
    q = arm.inverse((0.12, 0.08, TOUCH_HEIGHT))
    np.testing.assert_allclose(expert.rollout(q, (0.12, 0.08)), np.tile(q, (24, 1)), atol=1e-9)


def test_the_tip_keeps_to_its_speed_on_the_way() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scene = sample_scene(rng)
        q = arm.inverse((*scene.xy[0], TOUCH_HEIGHT))
        before = arm.tip(q)
        for commanded in expert.rollout(q, scene.xy[1], 60):
            q = expert.follow(q, commanded)
            assert np.linalg.norm(arm.tip(q) - before) <= expert.SPEED * 1.05
            before = arm.tip(q)


def test_nearly_the_same_state_gets_nearly_the_same_command() -> None:
    rng = np.random.default_rng(2)
    radius, pan = rng.uniform(0.08, 0.22, 4000), rng.uniform(-1.2, 1.2, 4000)
    height = rng.uniform(0.03, 0.14, 4000)
    q = arm.inverse(np.column_stack((radius * np.cos(pan), radius * np.sin(pan), height)))
    nudge = 1e-4 * rng.normal(size=q.shape)
    target = np.array([0.15, 0.05])
    change = expert.command(q + nudge, target) - expert.command(q, target)
    assert np.abs(change).max() < 5e-3
