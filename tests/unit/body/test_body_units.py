"""Joints in the units of policies, and those by their own names."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.body.bodies import (
    RATE_HZ,
    START,
    body_of,
    layout_of,
    two_poses,
    wave,
)
from tests.unit.body.two_arms import ARM, kinematics, robot
from wall_edge.body.body import Body
from wall_edge.body.units import JointUnits
from wall_edge.bundle import Embodiment, Manifest, joint_layout
from wall_edge.config import JointEntry
from wall_edge.errors import ConfigError, PolicyError
from wall_edge.kinematics.rotations import exp


class TestUnits:
    @pytest.mark.parametrize(
        ("entry", "value", "joint"),
        [
            ({"unit": "rad"}, 0.7, 0.7),
            ({"unit": "deg"}, 90.0, math.pi / 2),
            ({"unit": "deg"}, -180.0, -math.pi),
            ({"unit": "percent", "range": [0.5, 1.5]}, 0.0, 0.5),
            ({"unit": "percent", "range": [0.5, 1.5]}, 100.0, 1.5),
            ({"unit": "percent", "range": [1.5, -0.5]}, 25.0, 1.0),
            ({"unit": "percent", "range": [-1.0, 2.0], "values": [-100.0, 100.0]}, 0.0, 0.5),
            ({"unit": "percent", "range": [0.5, 1.5]}, 110.0, 1.6),  # the joint's limits bound it later
            ({"unit": "own", "range": [0.0, 1.0], "values": [34.0, 121.0]}, 34.0, 0.0),
            ({"unit": "own", "range": [0.0, 1.0], "values": [4.4, -0.12]}, -0.12, 1.0),
        ],
    )
    def test_each_unit_both_ways(self, entry: dict[str, Any], value: float, joint: float) -> None:
        body = body_of({"a": {"kind": "joint", "joint": "left_pan", "unit": "rad", **entry}})
        chunk = body.joints(np.full((2, 1), value), START)
        np.testing.assert_allclose(chunk.positions[:, 0], joint, atol=1e-12)
        np.testing.assert_array_equal(chunk.positions[:, 1:], np.tile(START[1:], (2, 1)))
        np.testing.assert_allclose(body.values(chunk.positions), value, atol=1e-9)
        assert body.state(chunk.positions[0]).tolist() == pytest.approx([value])

    def test_metres_are_of_a_slider_alone(self) -> None:
        entry = {"kind": "joint", "joint": "left_slide", "unit": "m"}
        mapped = kinematics(joints={"left_slide": {"joint": "left_slide", "scale": 0.5, "offset": 0.01}})
        body = body_of({"a": entry}, kinematics=mapped)
        assert body.joints(np.array([[0.03]]), START).positions[0, 6] == pytest.approx(0.04)
        for joint, unit in (("left_pan", "m"), ("left_slide", "deg")):
            with pytest.raises(ConfigError, match=f"is in {unit}, and joint {joint} is"):
                body_of({"a": {"kind": "joint", "joint": joint, "unit": unit}})
        with pytest.raises(ConfigError, match="no slider"):
            body_of({"a": entry}, kinematics=None)

    @given(
        ends=st.tuples(st.floats(-3, 3), st.floats(-3, 3)).filter(lambda e: abs(e[0] - e[1]) > 1e-3),
        values=st.tuples(st.floats(-200, 200), st.floats(-200, 200)).filter(
            lambda v: abs(v[0] - v[1]) > 1e-2
        ),
        joint=st.floats(-2.5, 2.5),
    )
    def test_own_units_are_lines_through_their_ends(
        self, ends: tuple[float, float], values: tuple[float, float], joint: float
    ) -> None:
        entries = {"a": JointEntry("joint", "left_pan", "own", values, ends)}
        units = JointUnits.of(layout_of(entries), entries, {"left_pan": 0}, None)
        np.testing.assert_allclose(units.positions(np.array(values)[:, None])[:, 0], ends, atol=1e-6)
        assert units.positions(units.values(np.array([joint])))[0] == pytest.approx(joint, abs=1e-6)


class TestOwnJoints:
    def manifest(self, unit: str = "rad") -> Manifest:
        names = [joint.name for joint in robot().joints]
        layout = joint_layout(names, [0.0] * 14, [1.0] * 14, unit=cast(Any, unit))
        embodiment = Embodiment("two arms", layout, layout)
        return cast(Manifest, SimpleNamespace(embodiment=embodiment, action_rate_hz=RATE_HZ))

    def test_are_passed_on_as_they_are(self) -> None:
        body = Body.of(robot(kinematics=None), self.manifest())
        chunk = wave()
        assert body.identity
        assert body.state(START) is START
        assert body.values(chunk) is chunk
        assert body.joints(chunk, START).positions is chunk

    def test_in_degrees_are_converted(self) -> None:
        body = Body.of(robot(kinematics=None), self.manifest("deg"))
        assert not body.identity
        np.testing.assert_allclose(body.joints(np.degrees(wave()), START).positions, wave())
        np.testing.assert_allclose(body.state(START), np.degrees(START))

    def test_what_is_not_finite_is_refused(self) -> None:
        body = Body.of(robot(kinematics=None), self.manifest())
        with pytest.raises(PolicyError, match="finite"):
            body.joints(np.full((2, 14), np.nan), START)


class TestOthers:
    def test_sinks_and_what_is_held(self) -> None:
        rest: dict[str, Any] = {
            "head": {"kind": "held", "value": [0.1, -0.2], "size": 2},
            "height": {"kind": "held", "value": [0.45], "size": 1},
            "base": {"kind": "sink", "sink": "base", "size": 3, "state": [1.0, 2.0, 3.0]},
        }
        body = body_of(two_poses(**rest))
        assert body.state(START)[14:].tolist() == [0.1, -0.2, 0.45, 1.0, 2.0, 3.0]
        asked = body.values(wave())
        asked[:, 14:] = np.arange(32 * 6).reshape(32, 6)
        chunk = body.joints(asked, wave()[0])
        np.testing.assert_array_equal(chunk.sinks["base"], asked[:, 17:])
        assert chunk.sinks.keys() == {"base"}
        np.testing.assert_allclose(chunk.positions, wave(), atol=5e-3)

    def test_state_and_action_may_differ(self) -> None:
        state = {"joints": {"kind": "joint", "joint": [f"left_{n}" for n in ARM], "unit": "deg"}}
        body = body_of({k: v for k, v in two_poses().items() if "left" in k}, state)
        np.testing.assert_allclose(body.state(START), np.degrees(START[:6]))
        assert body.values(START[None]).shape == (1, 7)

    def test_exp_of_nothing_is_the_tip_of_now(self) -> None:
        body = body_of(two_poses("rotvec"))
        state = body.state(START)
        np.testing.assert_allclose(
            exp(state[3:6]), body.model.chains["left"].forward(START)[1], atol=1e-12  # type: ignore[union-attr]
        )  # fmt: skip
