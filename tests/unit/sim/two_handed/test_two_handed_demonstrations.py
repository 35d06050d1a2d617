"""Training samples: labels that say what the robot will do with them."""

import numpy as np

from examples.two_handed import demonstrations as made
from wall_edge.kinematics.rotations import exp
from wall_edge.sim.blocks import COLOURS, TRAIN_STREAM
from wall_edge.sim.two_handed import expert
from wall_edge.sim.two_handed.hands import HANDS, OUTWARD, Hands


def test_shapes_and_ranges() -> None:
    batch = made.sample_batch(np.random.default_rng(0), 8)
    assert {camera: frames.shape for camera, frames in batch.frames.items()} == {
        "face_view": (8, 84, 140, 3),
        "left_wrist_view": (8, 84, 84, 3),
        "right_wrist_view": (8, 84, 84, 3),
    }
    assert batch.state.shape == (8, 14)
    assert batch.actions.shape == (8, 32, 14)
    assert np.isfinite(batch.actions).all()
    assert batch.colours[..., 0].sum(axis=1).tolist() == [3] * 8
    assert batch.cells.shape == (8, 15, 5, 4)
    np.testing.assert_array_equal(batch.cells.sum(axis=1), batch.colours)


def test_an_action_is_relative_to_the_state_and_turns_it_about_the_bases_axes() -> None:
    """R = rpy(delta) · R_state, written out by hand for one hand and one step."""
    rng = np.random.default_rng(1)
    state = Hands.of(rng.uniform(-0.3, 0.3, size=(1, 14)))
    wanted = Hands.of(rng.uniform(-0.3, 0.3, size=(1, 14)))
    action = made.relative([wanted], state)[0, 0]
    np.testing.assert_allclose(action[7:10], (wanted.position - state.position)[0, 1])
    np.testing.assert_allclose(action[13], (wanted.gripper - state.gripper)[0, 1])
    roll, pitch, yaw = (exp(axis * angle) for axis, angle in zip(np.eye(3), action[10:13], strict=True))
    np.testing.assert_allclose(yaw @ pitch @ roll @ state.rotation[0, 1], wanted.rotation[0, 1], atol=1e-12)


def test_absolute_takes_relative_back() -> None:
    rng = np.random.default_rng(2)
    state = Hands.of(rng.uniform(-0.3, 0.3, size=(4, 14)))
    commands = [Hands.of(rng.uniform(-0.3, 0.3, size=(4, 14))) for _ in range(3)]
    actions = made.relative(commands, state)
    for step, command in enumerate(commands):
        np.testing.assert_allclose(
            made.absolute(actions[:, step], state).slots(), command.slots(), atol=1e-12
        )


def test_words_targets_and_labels_agree() -> None:
    batch = made.sample_batch(np.random.default_rng(3), 24)
    second = 0
    for row, (instruction, subgoal) in enumerate(zip(batch.instructions, batch.subgoals, strict=True)):
        parts = [part.removeprefix("touch ") for part in instruction.rstrip(".").split(", then ")]
        now = subgoal.removeprefix("touch ").rstrip(".")
        done = parts.index(now)
        second += done
        for part, xy in zip(parts, batch.word_xy[row], strict=True):
            np.testing.assert_array_equal(batch.colours[row, COLOURS.index(part.split()[1]), 2:], xy)
        np.testing.assert_array_equal(batch.target_xy[row], batch.word_xy[row, done])
        touched = batch.colours[row, :, 1]
        assert touched.sum() == done
        target = batch.target_xy[row] * made.XY_SCALE + made.XY_CENTRE
        hand = HANDS.index(now.split()[-2])
        state = Hands.of(batch.state[row : row + 1])
        labels = made.relative(expert.rollout(state, target[None], np.array([hand])), state)
        np.testing.assert_allclose(batch.actions[row], labels[0], atol=1e-9)
    assert 4 < second < 20


def test_states_go_past_every_limit_and_hands_never_cross() -> None:
    state = np.concatenate([made.sample_batch(np.random.default_rng(n), 64).state for n in range(3)])
    assert ((state > made.LOWER - 0.05) & (state < made.UPPER + 0.05)).all()
    hands = Hands.of(state)
    assert (hands.position[:, 0, 1] - hands.position[:, 1, 1] >= made.LEAST_APART - 1e-9).all()
    outwards = (hands.position[..., 1] * OUTWARD).min()
    assert outwards < -0.12  # 7 cm past the 7 cm that a hand is sent past the middle
    assert hands.position[..., 0].max() > 0.31
    assert hands.position[..., 0].min() < 0.08


def test_one_spread_for_all_positions_and_one_for_all_rotations() -> None:
    spread = made.action_spread(np.random.default_rng(4), 512)
    hand = spread.reshape(2, 7)
    np.testing.assert_array_equal(hand[0], hand[1])
    assert len(set(hand[0, :3])) == len(set(hand[0, 3:6])) == 1
    assert 0.02 < hand[0, 0] < 0.1


def test_the_trainers_stream_repeats() -> None:
    one, two = (made.sample_batch(np.random.default_rng([TRAIN_STREAM, 9]), 2) for _ in "ab")
    np.testing.assert_array_equal(one.frames["face_view"], two.frames["face_view"])
    assert one.instructions == two.instructions
