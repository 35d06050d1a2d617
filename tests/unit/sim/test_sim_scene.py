import numpy as np
import pytest

from wall_edge.errors import ConfigError
from wall_edge.sim.blocks import SPACING, STEP_HZ, TOUCH_HEIGHT, TOUCH_RADIUS, TOUCH_STEPS, Scene
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld
from wall_edge.sim.tabletop.scene import Episode, Task, sample_scene, sample_task

RED, GREEN, BLUE, YELLOW = 0, 1, 2, 3


def _scene() -> Scene:
    return Scene(np.array([BLUE, RED, GREEN]), np.array([[0.15, 0.1], [0.15, 0.0], [0.15, -0.1]]))


def _over(scene: Scene, colour: int, above: float = 0.0) -> np.ndarray:
    return arm.inverse((*scene.xy[scene.index(colour)], TOUCH_HEIGHT + above))


def _stay(episode: Episode, q: np.ndarray, steps: int) -> str:
    return [episode.step(q) for _ in range(steps)][-1]


def test_the_task_in_words() -> None:
    task = Task(RED, BLUE)
    assert task.instruction == "touch the red block, then the blue block."
    words = [task.subgoal(touched) for touched in (0, 1, 2)]
    assert words == ["touch the red block."] + 2 * ["touch the blue block."]


def test_both_blocks_in_order_succeed() -> None:
    scene = _scene()
    episode = Episode(scene, Task(RED, BLUE))
    assert _stay(episode, _over(scene, RED), TOUCH_STEPS) == "running"
    assert scene.touched.tolist() == [False, True, False]
    assert episode.subgoal == "touch the blue block."
    np.testing.assert_array_equal(episode.target_xy, scene.xy[0])
    assert _stay(episode, _over(scene, RED), 30) == "running"  # staying on a touched block is harmless
    assert _stay(episode, _over(scene, BLUE), TOUCH_STEPS) == "success"


@pytest.mark.parametrize("colour", [GREEN, BLUE])
def test_a_block_that_is_not_next_fails(colour: int) -> None:
    scene = _scene()
    episode = Episode(scene, Task(RED, BLUE))
    assert _stay(episode, _over(scene, colour), TOUCH_STEPS) == "wrong_block"
    assert _stay(episode, _over(scene, RED), 20) == "wrong_block"
    assert episode.steps == TOUCH_STEPS


def test_five_steps_are_no_touch_and_leaving_starts_the_count_again() -> None:
    scene = _scene()
    episode = Episode(scene, Task(RED, BLUE))
    for _ in range(4):
        _stay(episode, _over(scene, RED), TOUCH_STEPS - 1)
        _stay(episode, arm.REST, 1)
    assert episode.touched == 0


@pytest.mark.parametrize(("above", "touched"), [(TOUCH_RADIUS - 1e-4, 1), (TOUCH_RADIUS + 1e-4, 0)])
def test_the_radius_of_a_touch(above: float, touched: int) -> None:
    scene = _scene()
    episode = Episode(scene, Task(RED, BLUE))
    _stay(episode, _over(scene, RED, above), TOUCH_STEPS)
    assert episode.touched == touched


def test_time_runs_out_at_the_limit() -> None:
    episode = Episode(_scene(), Task(RED, BLUE), time_limit_s=2.0)
    assert _stay(episode, arm.REST, 2 * STEP_HZ - 1) == "running"
    assert episode.step(arm.REST) == "timeout"


def test_impossible_episodes_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="time limit 0"):
        Episode(_scene(), Task(RED, BLUE), time_limit_s=0)
    with pytest.raises(ConfigError, match="one of blue, red, green"):
        Episode(_scene(), Task(RED, YELLOW))


def test_sampled_scenes_are_spaced_reachable_and_clear_of_the_tip() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = sample_scene(rng, clear_of=(0.15, 0.05))
        assert len(set(scene.colours.tolist())) == 3
        gaps = np.linalg.norm(scene.xy[:, None] - scene.xy[None], axis=-1)[np.triu_indices(3, 1)]
        assert gaps.min() >= SPACING
        assert np.linalg.norm(scene.xy - [0.15, 0.05], axis=1).min() >= 0.07
        for height in (TOUCH_HEIGHT, TOUCH_HEIGHT + 0.045):
            target = np.column_stack((scene.xy, np.full(3, height)))
            np.testing.assert_allclose(arm.tip(arm.inverse(target)), target, atol=1e-9)
        task = sample_task(rng, scene)
        assert task.first != task.second
        assert {task.first, task.second} <= set(scene.colours.tolist())


def test_the_world_repeats_itself_and_leaves_the_arm_alone() -> None:
    first, second = TabletopWorld(seed=4), TabletopWorld(seed=4)
    a, b = first.new_episode(7), second.new_episode(7)
    np.testing.assert_array_equal(a.scene.xy, b.scene.xy)
    assert a.task == b.task
    assert not np.array_equal(TabletopWorld(seed=5).new_episode(7).scene.xy, a.scene.xy)
    for index in range(40):
        tip = arm.tip(arm.inverse((*first.episode.scene.xy[0], TOUCH_HEIGHT)))
        first.step(arm.inverse(tip))
        laid = first.new_episode(index).scene.xy
        assert np.linalg.norm(laid - tip[:2], axis=1).min() >= 0.07
