"""Poses of policies as joint positions: there and back, continuous, in every way of writing."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.body.bodies import (
    FORMS,
    HORIZON,
    RATE_HZ,
    START,
    body_of,
    manifest_of,
    rotation_columns,
    two_poses,
    wave,
)
from tests.unit.body.two_arms import kinematics, robot
from wall_edge.body.body import Body
from wall_edge.kinematics.rotations import distance, to_matrix


class TestPoses:
    @pytest.mark.parametrize("form", FORMS)
    def test_state_to_values_to_joints(self, form: str) -> None:
        body = body_of(two_poses(form))
        motion = wave()
        chunk = body.joints(body.values(motion), motion[0], motion)
        np.testing.assert_allclose(chunk.positions, motion, atol=2e-3)
        assert (chunk.solved, chunk.nearest, chunk.held) == (2 * HORIZON, 0, 0)
        for k in (0, 17, 31):
            one = body.state(motion[k])
            np.testing.assert_allclose(one, body.values(motion[k : k + 1])[0], atol=1e-12)

    def test_cold_it_comes_to_the_same_poses(self) -> None:
        body = body_of(two_poses())
        asked = body.values(wave())
        chunk = body.joints(asked, wave()[0])
        np.testing.assert_allclose(body.values(chunk.positions), asked, atol=5e-4)
        assert chunk.solved == 2 * HORIZON

    def test_numbers_are_in_the_axes_of_the_frame(self) -> None:
        state = body_of(two_poses()).state(START)
        np.testing.assert_allclose(state[:3] - [0, 0, 0.01], state[7:10] - [0, -0.17, 0.02], atol=1e-12)

    @pytest.mark.parametrize("form", ["rpy", "euler_zyx", "rotvec", "quaternion"])
    def test_the_tip_turns_through_pi(self, form: str) -> None:
        """The tip's pointing axis is turned past ±π: numbers jump, joints do not."""
        mapped = kinematics()
        mapped["poses"]["left"] = {"base": "left_base", "tip": "left_tool", "frame": "left_base"}
        body = body_of(two_poses(form), kinematics=mapped)
        motion = np.tile(START, (HORIZON, 1))
        motion[:, 4] += np.linspace(-0.2, 0.3, HORIZON)  # flex: the tool leans through straight down
        asked = body.values(motion)
        if form in ("rotvec", "euler_zyx"):
            assert np.abs(np.diff(asked[:, 3:6], axis=0)).max() > 1 or form == "euler_zyx"
        chunk = body.joints(asked, motion[0])
        np.testing.assert_allclose(chunk.positions[:, :6], motion[:, :6], atol=5e-3)
        assert chunk.solved == 2 * HORIZON

    @given(sign=st.sampled_from([-1, 1]), turns=st.integers(-3, 3))
    def test_every_way_of_writing_a_rotation_is_the_same_joints(self, sign: int, turns: int) -> None:
        body = _rpy_body()
        asked = body.values(wave(4))
        other = asked.copy()
        other[:, 5] += 2 * math.pi * turns
        other[:, [10, 12]] += sign * math.pi
        other[:, 11] = math.pi - other[:, 11]
        one, two = (body.joints(v, wave(1)[0]).positions for v in (asked, other))
        np.testing.assert_allclose(one, two, atol=1e-6)

    def test_a_single_state_is_written_as_data_sets_have_it(self) -> None:
        rng = np.random.default_rng(5)
        for form in FORMS:
            body = body_of(two_poses(form))
            for _ in range(20):
                joints = rng.uniform(-1, 1, 14) * np.array([2.6, 1.9, 0.2, 2.8, 2.0, 3.1, 0.0] * 2)
                turn = body.state(joints)[rotation_columns(form)]
                rotation = body.model.chains["left"].forward(joints)[1]  # type: ignore[union-attr]
                assert distance(to_matrix(form, turn), rotation) < 1e-9
                if form == "quaternion":
                    assert turn[3] >= 0
                elif form not in ("6d", "6d_rows"):
                    assert np.abs(turn).max() <= math.pi
                if form in ("rpy", "euler_zyx"):
                    assert abs(turn[1]) <= math.pi / 2

    def test_a_position_alone_leaves_the_rotation_free(self) -> None:
        body = body_of({"xyz": {"kind": "position", "pose": "left"}})
        asked = body.values(np.tile(START, (HORIZON, 1)))
        asked[:, 0] += np.linspace(0, 0.05, HORIZON)
        chunk = body.joints(asked, START)
        assert (chunk.solved, chunk.nearest) == (HORIZON, 0)
        np.testing.assert_allclose(body.values(chunk.positions), asked, atol=1e-4)
        assert body.unmoved == [6, *range(7, 14)]


@cache
def _rpy_body() -> Body:
    return body_of(two_poses("rpy"))


class TestContinuity:
    def test_the_next_chunk_keeps_the_branch(self) -> None:
        """Chunks overlap by all but three steps; where they overlap they agree, whichever way it could go."""
        body = body_of(two_poses())
        first = body.joints(body.values(wave()), wave()[0])
        for begin in range(3, 60, 3):
            previous = np.concatenate([first.positions[3:], np.repeat(first.positions[-1:], 3, axis=0)])
            second = body.joints(body.values(wave(first=begin)), previous[0], previous)
            np.testing.assert_allclose(second.positions[:-3], previous[:-3], atol=5e-3)
            assert second.solved == 2 * HORIZON
            first = second

    def test_no_step_is_faster_than_its_joint(self) -> None:
        config = robot(embodiment={"action": two_poses()})
        body = Body.of(config, manifest_of(config))
        asked = body.values(wave())
        asked[10:, 2] -= 0.1  # a jump of 10 cm
        chunk = body.joints(asked, wave()[0])
        most = np.array(config.per_joint(lambda joint: joint.max_velocity)) / RATE_HZ
        arms = [i for i in range(14) if i % 7 != 6]
        steps = np.diff(np.concatenate([wave()[:1], chunk.positions]), axis=0)[:, arms]
        assert (np.abs(steps) <= most[arms] * (1 + 1e-9)).all()
        assert 0 < chunk.nearest < 20
        assert chunk.solved + chunk.nearest == 2 * HORIZON

    def test_joints_that_nothing_moves_stay(self) -> None:
        only = {k: v for k, v in two_poses().items() if k.startswith("left")}
        body = body_of(only)
        chunk = body.joints(body.values(wave()), wave()[0])
        np.testing.assert_array_equal(chunk.positions[:, 7:], np.tile(wave()[0, 7:], (HORIZON, 1)))
        assert body.unmoved == list(range(7, 14))

    def test_values_of_the_plan_are_what_made_it(self) -> None:
        """What real-time chunking pulls towards: the executed plan, as the policy would write it."""
        body = body_of(two_poses("rotvec", base={"kind": "sink", "sink": "base", "size": 3}))
        asked = body.values(wave())
        asked[:, -3:] = np.arange(96).reshape(32, 3)
        chunk = body.joints(asked, wave()[0])
        again = body.values(chunk.positions, asked)
        np.testing.assert_allclose(again, asked, atol=5e-4)
        np.testing.assert_array_equal(again[:, -3:], asked[:, -3:])


class TestWorkspace:
    def test_what_leaves_it_is_kept_inside_and_counted(self) -> None:
        box = {"x": [-1.0, 1.0], "y": [-1.0, 1.0], "z": [0.15, 1.0]}
        workspace = {"poses": {"left": {"frame": "left_base", "box": box}}, "margin_m": 0.0}
        body = body_of(two_poses(), workspace=workspace)
        asked = body.values(np.tile(START, (HORIZON, 1)))
        inside = body.joints(asked, START)
        assert inside.confined == 0
        asked[16:, 2] = np.linspace(asked[0, 2], 0.1, 16)
        chunk = body.joints(asked, START)
        below = int((asked[:, 2] < 0.15).sum())
        assert chunk.confined == below > 0
        assert chunk.solved == 2 * HORIZON
        reached = body.values(chunk.positions)
        assert reached[:, 2].min() > 0.15 - 1e-4
        np.testing.assert_allclose(reached[asked[:, 2] > 0.151], asked[asked[:, 2] > 0.151], atol=1e-3)
