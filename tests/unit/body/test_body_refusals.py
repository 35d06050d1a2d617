"""What cannot be reached is bounded and counted; what no arm should try is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from tests.unit.body.bodies import (
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
from wall_edge.array_types import Floats
from wall_edge.body.body import Body
from wall_edge.bundle import Embodiment, Layout, Manifest
from wall_edge.config import EmbodimentConfig, expand
from wall_edge.errors import ConfigError, PolicyError


class TestUnreachable:
    def away(self, body: Body, far: float = 0.5) -> Floats:
        """The left arm leaves its reach at step 16 and comes back at 24."""
        asked = body.values(np.tile(START, (HORIZON, 1)))
        asked[16:24, 0] += far
        return asked

    def test_the_nearest_is_bounded_and_counted(self) -> None:
        body = body_of(two_poses())
        chunk = body.joints(self.away(body), START)
        assert chunk.held == 0
        assert 8 <= chunk.nearest <= 16
        assert chunk.solved + chunk.nearest == 2 * HORIZON
        np.testing.assert_allclose(chunk.positions[:, 7:], np.tile(START[7:], (HORIZON, 1)), atol=1e-5)

    def test_hold_stays_at_the_last_that_could_be_reached(self) -> None:
        body = body_of(two_poses(), policy={"unreachable": "hold"})
        chunk = body.joints(self.away(body), START)
        assert (chunk.solved, chunk.nearest, chunk.held) == (2 * HORIZON - 8, 0, 8)
        np.testing.assert_allclose(chunk.positions[16:24], np.tile(chunk.positions[15], (8, 1)), atol=1e-12)

    def test_hold_does_not_mean_poses_that_are_only_late(self) -> None:
        body = body_of(two_poses(), policy={"unreachable": "hold"})
        asked = body.values(np.tile(START, (HORIZON, 1)))
        asked[:, 2] -= 0.08  # 8 cm down at once
        chunk = body.joints(asked, START)
        assert chunk.held == 0
        assert chunk.solved > HORIZON + 20
        np.testing.assert_allclose(body.values(chunk.positions)[-1], asked[-1], atol=5e-4)

    def test_hold_from_the_first_step_on(self) -> None:
        body = body_of(two_poses(), policy={"unreachable": "hold"})
        asked = body.values(np.tile(START, (HORIZON, 1)))
        asked[:, 0] += 0.6
        chunk = body.joints(asked, START)
        assert (chunk.solved, chunk.held) == (HORIZON, HORIZON)
        np.testing.assert_array_equal(chunk.positions[:, :6], np.tile(START[:6], (HORIZON, 1)))


class TestRefused:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("column", range(14))
    def test_what_is_not_finite(self, value: float, column: int) -> None:
        body = body_of(two_poses())
        asked = body.values(wave())
        asked[7, column] = value
        with pytest.raises(PolicyError, match="finite"):
            body.joints(asked, START)

    def test_metres_as_millimetres(self) -> None:
        body = body_of(two_poses())
        asked = body.values(wave())
        asked[:, 7:10] *= 1000
        with pytest.raises(
            PolicyError, match=r"pose right [\d.]+ m from right_base at step \d+; expected at most"
        ):
            body.joints(asked, START)

    def test_far_and_absurd(self) -> None:
        """The arm is 0.6 m long: 1.7 m are out of reach, 1.9 m are no pose."""
        body = body_of(two_poses())
        asked = body.values(np.tile(START, (HORIZON, 1)))
        asked[:, 0] = 1.6
        assert body.joints(asked, START).nearest == HORIZON
        asked[:, 0] = 1.9
        with pytest.raises(PolicyError, match="pose left"):
            body.joints(asked, START)

    @pytest.mark.parametrize("form", ["quaternion", "6d"])
    def test_no_rotation(self, form: str) -> None:
        body = body_of(two_poses(form))
        asked = body.values(wave())
        asked[3, rotation_columns(form)] = 0
        with pytest.raises(PolicyError, match="is no rotation"):
            body.joints(asked, START)

    def test_flips_are_bounded(self) -> None:
        config = robot(embodiment={"action": two_poses("rotvec")})
        body = Body.of(config, manifest_of(config))
        asked = body.values(np.tile(START, (HORIZON, 1)))
        asked[::2, 3:6] = [np.pi, 0, 0]
        chunk = body.joints(asked, START)
        bounds = config.bounds()
        steps = np.diff(np.concatenate([START[None], chunk.positions]), axis=0)
        for i in range(14):
            assert chunk.positions[:, i].min() >= bounds[i].lower - 1e-9
            assert chunk.positions[:, i].max() <= bounds[i].upper + 1e-9
            assert np.abs(steps[:, i]).max() <= bounds[i].velocity / RATE_HZ * (1 + 1e-9)


class TestContradictions:
    def test_a_joint_that_two_move(self) -> None:
        both = {**two_poses(), "pan": {"kind": "joint", "joint": "left_pan", "unit": "rad"}}
        with pytest.raises(ConfigError, match="left_pan is moved by pose left and by a joint's"):
            body_of(both)
        mapped = kinematics()
        mapped["poses"]["right"] = {"base": "left_base", "tip": "left_hand", "frame": "table"}
        with pytest.raises(ConfigError, match="left_pan is moved by pose right and by pose left"):
            body_of(two_poses(), kinematics=mapped)

    def test_a_rotation_without_a_position(self) -> None:
        with pytest.raises(ConfigError, match="pose left has a rotation and no position"):
            body_of({"turn": {"kind": "rotation", "pose": "left", "form": "rpy"}})

    def test_an_entry_of_another_robot(self) -> None:
        theirs = robot(embodiment={"action": two_poses("rotvec")})
        manifest = manifest_of(theirs)
        for other, told in [
            (two_poses("rpy"), "state's rotation of left is written as rpy; expected rotvec"),
            (
                {**two_poses("rotvec"), "left_grip": {"kind": "held"}},
                r"slot 6 \(left_grip\) is held; expected joint",
            ),
        ]:
            with pytest.raises(ConfigError, match=told):
                Body.of(robot(embodiment={"action": other}), manifest)
        moved = kinematics()
        moved["poses"]["right"]["frame"] = "right_base"
        with pytest.raises(
            ConfigError, match=r"kinematics\.poses\.right is .*right_base.*; expected .*table"
        ):
            Body.of(robot(embodiment={"action": two_poses("rotvec")}, kinematics=moved), manifest)

    def test_what_the_checkpoint_decides_is_not_compared(self) -> None:
        config = robot(embodiment={"action": two_poses()})
        manifest = manifest_of(config)
        entries = cast(EmbodimentConfig, config.embodiment).action
        degrees, rotations = expand(
            entries, [(d.name, d.slot) for d in manifest.embodiment.action.degrees], "state"
        )
        action = Layout(tuple(degrees), (0.0,) * 14, (1.0,) * 14, None, dict(rotations))
        offsets = Embodiment("two arms", manifest.embodiment.state, action, manifest.embodiment.poses)
        Body.of(config, cast(Manifest, SimpleNamespace(embodiment=offsets, action_rate_hz=RATE_HZ)))


def test_an_orientation_that_weighs_next_to_nothing_is_refused_by_its_own_name() -> None:
    with pytest.raises(ConfigError, match=r"kinematics.orientation_m is 0.0005; expected 0 .*0.001 to 10"):
        robot(kinematics=kinematics(orientation_m=5e-4))
