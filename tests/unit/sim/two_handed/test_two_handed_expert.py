"""The scripted demonstrator: it succeeds, keeps the hands apart, and has no phase that nobody can see."""

import numpy as np

from wall_edge.kinematics.rotations import to_matrix
from wall_edge.sim.blocks import TOUCH_HEIGHT
from wall_edge.sim.two_handed import expert
from wall_edge.sim.two_handed.hands import OPEN, Hands
from wall_edge.sim.two_handed.referee import TwoHandedTable


def _home() -> Hands:
    return Hands(expert.HOME[None].copy(), expert.upright(expert.HOME[None]), np.full((1, 2), OPEN))


def test_twenty_episodes_one_after_the_other_succeed_apart() -> None:
    table, hands = TwoHandedTable(seed=1), _home()
    for number in range(20):
        episode = table.new_episode(number)
        while episode.status == "running":
            active = np.array([episode.task.touch(episode.touched).hand])
            hands = expert.follow(hands, expert.command(hands, episode.target_xy[None], active))
            table.step(hands.slots()[0])
        assert episode.status == "success"
        assert episode.seconds < 4.0
        assert episode.least_tip_distance_m > 0.10


def test_the_answer_depends_on_what_can_be_seen_alone() -> None:
    rng = np.random.default_rng(0)
    hands = Hands.of(rng.uniform(-0.1, 0.1, size=(8, 14)) + np.tile([0.2, 0, 0.1, 0, 0, 0, 0.5], 2))
    target, active = rng.uniform([0.13, -0.1], [0.25, 0.1], size=(8, 2)), np.arange(8) % 2
    together = expert.command(hands, target, active).slots()
    for row in range(8):
        one = Hands(
            hands.position[row : row + 1], hands.rotation[row : row + 1], hands.gripper[row : row + 1]
        )
        alone = expert.command(one, target[row : row + 1], active[row : row + 1]).slots()
        np.testing.assert_allclose(alone[0], together[row], atol=1e-12)


def test_no_step_is_faster_than_the_tip_speed() -> None:
    rng = np.random.default_rng(1)
    low, high = (
        np.tile([0.07, -0.3, 0.02, -0.3, -0.3, -1, 0], 2),
        np.tile([0.32, 0.1, 0.2, 0.3, 0.3, 1, 1], 2),
    )
    hands = Hands.of(rng.uniform(low, high, size=(500, 14)))
    target = rng.uniform([0.13, -0.19], [0.25, 0.19], size=(500, 2))
    wanted = expert.command(hands, target, np.arange(500) % 2)
    moved = expert.follow(hands, wanted).position - hands.position
    assert np.linalg.norm(moved, axis=-1).max() <= expert.SPEED + 1e-12


def test_hands_that_are_near_do_not_come_nearer() -> None:
    position = np.array([[[0.2, 0.04, 0.09], [0.2, -0.03, 0.09]]])
    hands = Hands(position, expert.upright(position), np.full((1, 2), 0.5))
    for _ in range(5):  # the left hand is sent across the right one
        hands = expert.follow(hands, expert.command(hands, np.array([[0.2, -0.12]]), np.array([0])))
        apart = np.linalg.norm(hands.position[0, 0] - hands.position[0, 1])
        assert apart >= 0.07 - 1e-9
    assert hands.position[0, 1, 1] < -0.04  # the other one makes way


def test_a_low_hand_that_is_far_away_rises_before_it_crosses() -> None:
    hands = _home()
    hands.position[0, 1] = 0.15, -0.1, TOUCH_HEIGHT
    wanted = expert.command(hands, np.array([[0.2, 0.05]]), np.array([1]))
    moved = wanted.position[0, 1] - hands.position[0, 1]
    assert moved[2] > 0.005
    assert np.abs(moved[:2]).max() < 1e-9


def test_a_tilted_tool_becomes_upright_and_the_active_one_closed() -> None:
    hands = _home()
    tilted = Hands(hands.position, to_matrix("rpy", np.full((1, 2, 3), 0.3)), hands.gripper)
    for _ in range(60):
        tilted = expert.follow(tilted, expert.command(tilted, np.array([[0.2, 0.1]]), np.array([0])))
    np.testing.assert_allclose(tilted.rotation[..., 2, 2], 1.0, atol=1e-5)
    np.testing.assert_allclose(tilted.gripper, [[0.0, 1.0]], atol=1e-4)
    np.testing.assert_allclose(tilted.position[0, 0], [0.2, 0.1, TOUCH_HEIGHT], atol=1e-3)
