"""The two-handed task in words, where it is laid out, and its referee."""

import numpy as np
import pytest

from wall_edge.errors import ConfigError
from wall_edge.sim.blocks import SPACING, STEP_HZ, TOUCH_HEIGHT, TOUCH_RADIUS, TOUCH_STEPS, Scene
from wall_edge.sim.two_handed import expert
from wall_edge.sim.two_handed.referee import Episode, TwoHandedTable
from wall_edge.sim.two_handed.scene import (
    BLOCK_X,
    BLOCK_Y,
    OVERLAP,
    Task,
    Touch,
    reachable,
    sample_scene,
    sample_task,
)

RED, GREEN, BLUE, YELLOW = range(4)
LEFT, RIGHT = 0, 1
TASK = Task(Touch(RED, LEFT), Touch(BLUE, RIGHT))


def _scene() -> Scene:
    return Scene(np.array([BLUE, RED, GREEN]), np.array([[0.15, -0.1], [0.2, 0.1], [0.15, 0.0]]))


def _at(scene: Scene, colour: int, hand: int, above: float = 0.0) -> np.ndarray:
    """Tips [2, 3]: one at a block, the other at home."""
    tips = expert.HOME.copy()
    tips[hand] = (*scene.xy[scene.index(colour)], TOUCH_HEIGHT + above)
    return tips


def _stay(episode: Episode, tips: np.ndarray, steps: int = TOUCH_STEPS) -> str:
    return [episode.step(tips) for _ in range(steps)][-1]


def test_the_task_in_words() -> None:
    words = "touch the red block with the left hand, then the blue block with the right hand."
    assert TASK.instruction == words
    assert [TASK.subgoal(done) for done in (0, 1, 2)] == [
        "touch the red block with the left hand.",
        "touch the blue block with the right hand.",
        "touch the blue block with the right hand.",
    ]


def test_both_touches_in_order_succeed() -> None:
    scene = _scene()
    episode = Episode(scene, TASK)
    assert _stay(episode, _at(scene, RED, LEFT), TOUCH_STEPS - 1) == "running"
    assert episode.touched == 0
    assert _stay(episode, _at(scene, RED, LEFT), 1) == "running"
    assert (episode.touched, episode.subgoal) == (1, "touch the blue block with the right hand.")
    np.testing.assert_array_equal(episode.target_xy, scene.xy[0])
    assert _stay(episode, _at(scene, RED, RIGHT)) == "running"  # who touches a touched block does no harm
    assert _stay(episode, _at(scene, BLUE, RIGHT)) == "success"


@pytest.mark.parametrize(
    ("colour", "hand", "status"),
    [
        (GREEN, LEFT, "wrong_block"),
        (BLUE, LEFT, "wrong_block"),
        (BLUE, RIGHT, "wrong_block"),
        (RED, RIGHT, "wrong_hand"),
    ],
)
def test_what_is_not_asked_for_fails_and_stays_so(colour: int, hand: int, status: str) -> None:
    scene = _scene()
    episode = Episode(scene, TASK)
    assert _stay(episode, _at(scene, colour, hand)) == status
    assert _stay(episode, _at(scene, RED, LEFT), 20) == status
    assert episode.steps == TOUCH_STEPS


def test_the_wrong_hand_at_the_second_touch() -> None:
    scene = _scene()
    episode = Episode(scene, TASK)
    _stay(episode, _at(scene, RED, LEFT))
    assert _stay(episode, _at(scene, BLUE, LEFT)) == "wrong_hand"


@pytest.mark.parametrize(("above", "touched"), [(TOUCH_RADIUS - 1e-4, 1), (TOUCH_RADIUS + 1e-4, 0)])
def test_the_radius_of_a_hands_touch(above: float, touched: int) -> None:
    scene = _scene()
    episode = Episode(scene, TASK)
    _stay(episode, _at(scene, RED, LEFT, above))
    assert episode.touched == touched


def test_hands_that_take_turns_hold_nothing() -> None:
    scene = _scene()
    episode = Episode(scene, TASK)
    for _ in range(3):
        _stay(episode, _at(scene, RED, LEFT), TOUCH_STEPS - 1)
        _stay(episode, _at(scene, RED, RIGHT), TOUCH_STEPS - 1)
    assert episode.status == "running"
    assert episode.touched == 0


def test_the_least_distance_between_the_tips_is_kept() -> None:
    episode = Episode(_scene(), TASK)
    for apart in (0.3, 0.08, 0.2):
        episode.step(np.array([[0.2, apart, 0.1], [0.2, 0.0, 0.1]]))
    assert episode.least_tip_distance_m == pytest.approx(0.08)


def test_fifteen_seconds_are_all_there_are() -> None:
    episode = Episode(_scene(), TASK)
    assert _stay(episode, expert.HOME, 15 * STEP_HZ - 1) == "running"
    assert episode.step(expert.HOME) == "timeout"
    assert episode.seconds == 15.0


def test_impossible_two_handed_episodes_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="time limit 0"):
        Episode(_scene(), TASK, time_limit_s=0)
    with pytest.raises(ConfigError, match="one of blue, red, green"):
        Episode(_scene(), Task(Touch(RED, LEFT), Touch(YELLOW, RIGHT)))


def test_sampled_layouts_can_be_done() -> None:
    rng = np.random.default_rng(0)
    tip = np.array([[0.2, 0.1], [0.2, -0.1]])
    hands = set()
    for _ in range(200):
        scene = sample_scene(rng, clear_of=tip)
        apart = np.linalg.norm(scene.xy[:, None] - scene.xy[None], axis=-1) + np.eye(3)
        assert apart.min() >= SPACING
        assert np.linalg.norm(scene.xy[:, None] - tip[None], axis=-1).min() >= 0.07
        assert (scene.xy[:, 0] >= BLOCK_X[0]).all()
        assert (scene.xy[:, 0] <= BLOCK_X[1]).all()
        assert (np.abs(scene.xy[:, 1]) <= BLOCK_Y).all()
        task = sample_task(rng, scene)
        assert task.first.colour != task.second.colour
        for touch in (task.first, task.second):
            y = scene.xy[scene.index(touch.colour), 1]
            assert (y if touch.hand == LEFT else -y) >= -OVERLAP
            hands.add((touch.hand, bool(abs(y) < OVERLAP)))
    assert hands == {(LEFT, True), (LEFT, False), (RIGHT, True), (RIGHT, False)}


def test_in_the_overlap_both_hands_may_be_asked() -> None:
    assert reachable(LEFT, -OVERLAP)
    assert not reachable(LEFT, -OVERLAP - 1e-9)
    assert reachable(RIGHT, OVERLAP)
    assert not reachable(RIGHT, OVERLAP + 1e-9)


def test_a_table_is_laid_alike_for_its_seed_and_number() -> None:
    first, second = TwoHandedTable(seed=4), TwoHandedTable(seed=4)
    second.new_episode(9)
    for number in (3, 0):
        one, two = first.new_episode(number), second.new_episode(number)
        assert one.instruction == two.instruction
        np.testing.assert_array_equal(one.scene.xy, two.scene.xy)
    assert TwoHandedTable(seed=5).new_episode(3).instruction != first.new_episode(3).instruction
