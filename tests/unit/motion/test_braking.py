"""The stop that the limiter's promise rests on: closed forms, integration, and Ruckig as an oracle."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import ruckig
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wall_edge.config import Bounds, stopping_distance
from wall_edge.errors import ConfigError
from wall_edge.runtime.motion.braking import JointMotion, Stop, glide, safe, stop_of, well_inside

# A third of the jerk's sixth is exact in binary, so everything below is exact.
EXACT = Bounds(-3.0, 4.0, velocity=3.0, acceleration=3.0, jerk=6.0)
EPS = 2.0**-40

bounds = st.builds(
    lambda v, a, j: Bounds(-1e4, 1e4, v, a, j),
    st.floats(0.1, 10),
    st.floats(0.5, 50),
    st.floats(2, 2000),
)
parts = st.floats(-1, 1)


def simulated(state: JointMotion, stop: Stop, seconds: float, count: int) -> np.ndarray:
    """The stop's states at ``count`` + 1 even times [count + 1, 3], from its jerk alone.

    Sums of exact integrals of a piecewise constant jerk: no closed form of the whole is used.
    """
    ends = np.cumsum([stop.t1, stop.t2, stop.t3])
    times = np.linspace(0, seconds, count + 1)
    grid = np.unique(np.concatenate((times, ends[ends < seconds])))
    out = {0.0: state}
    p, v, a = state
    for begin, end in pairwise(grid):
        middle, h = (begin + end) / 2, end - begin
        part = int(np.searchsorted(ends, middle))
        j = -stop.direction * stop.jerk * (1.0, 0.0, -1.0, 0.0)[part]
        p, v, a = p + v * h + a * h * h / 2 + j * h**3 / 6, v + a * h + j * h * h / 2, a + j * h
        out[float(end)] = (p, v, a)
    return np.array([out[float(t)] for t in times])


class TestStop:
    CASES = (
        # velocity, acceleration; t1, t2, t3; distance. Mirrored as well.
        (3.0, 0.0, (0.5, 0.5, 0.5), 2.25),  # jerk, constant deceleration, jerk
        (1.5, 0.0, (0.5, 0.0, 0.5), 0.75),  # the deceleration just reaches its bound
        (0.375, 0.0, (0.25, 0.0, 0.25), 0.09375),  # it never does
        (1.5, -3.0, (0.0, 0.25, 0.5), 0.40625),  # it already does
        (2.25, 3.0, (1.0, 0.5, 0.5), 3.625),  # still accelerating
        (-0.375, 3.0, (0.75, 0.0, 0.25), 0.15625),  # it turns on the way
        (0.09375, -1.5, (0.375, 0.0, 0.125), -0.01953125),  # it overshoots 0
    )

    @pytest.mark.parametrize(("velocity", "acceleration", "times", "distance"), CASES)
    @pytest.mark.parametrize("sign", [1, -1])
    def test_closed_forms(
        self, sign: int, velocity: float, acceleration: float, times: tuple[float, ...], distance: float
    ) -> None:
        stop = stop_of(sign * velocity, sign * acceleration, EXACT)
        back = velocity + acceleration * abs(acceleration) / 12 < 0
        assert stop == Stop(-sign if back else sign, 6.0, *times)
        state = (1.0, sign * velocity, sign * acceleration)
        for late in (sum(times), sum(times) + 1e-9, 10.0, math.inf):
            assert stop.after(state, late) == (1.0 + sign * distance, 0.0, 0.0)
        assert stop.after(state, 0.0) == state

    def test_only_the_last_jerk_is_left(self) -> None:
        """Exactly between the two ways to brake both are the same motion."""
        for sign in (1, -1):
            stop = stop_of(sign * 0.75, sign * -3.0, EXACT)
            assert stop.t1 + stop.t3 == 0.5
            assert stop.t2 == 0.0
            assert stop.after((0.0, sign * 0.75, sign * -3.0), 0.25) == (
                sign * 0.109375,
                sign * 0.1875,
                sign * -1.5,
            )
            assert stop.after((0.0, sign * 0.75, sign * -3.0), 1.0) == (sign * 0.125, 0.0, 0.0)

    def test_at_rest_there_is_nothing_to_do(self) -> None:
        stop = stop_of(0.0, 0.0, EXACT)
        assert (stop.t1, stop.t2, stop.t3) == (0.0, 0.0, 0.0)
        assert stop.after((0.5, 0.0, 0.0), 0.0) == (0.5, 0.0, 0.0)

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [
            (0.25, (0.734375, 2.8125, -1.5)),
            (0.5, (1.375, 2.25, -3.0)),
            (0.75, (1.84375, 1.5, -3.0)),
            (1.0, (2.125, 0.75, -3.0)),
            (1.25, (2.234375, 0.1875, -1.5)),
            (1.5, (2.25, 0.0, 0.0)),
        ],
    )
    def test_along_the_way(self, seconds: float, expected: JointMotion) -> None:
        assert stop_of(3.0, 0.0, EXACT).after((0.0, 3.0, 0.0), seconds) == expected
        mirrored = stop_of(-3.0, 0.0, EXACT).after((0.0, -3.0, 0.0), seconds)
        assert mirrored == tuple(-x for x in expected)

    @settings(max_examples=150, deadline=None)
    @given(bounds, parts, parts, st.floats(0, 1.2))
    def test_after_is_the_integral_of_its_jerk(self, b: Bounds, v: float, a: float, part: float) -> None:
        state = (0.25, v * b.velocity, a * b.acceleration)
        stop = stop_of(state[1], state[2], b)
        total = stop.t1 + stop.t2 + stop.t3
        assert min(stop.t1, stop.t2, stop.t3) >= 0
        assume(total > 1e-6)
        expected = simulated(state, stop, part * total, 64)[-1]
        scale = [1 + b.velocity * total, b.velocity, b.acceleration]
        assert (np.abs(expected - stop.after(state, part * total)) <= 1e-10 * np.array(scale)).all()

    @settings(max_examples=300, deadline=None)
    @given(bounds, parts, parts)
    def test_ruckig_needs_the_same_time_and_ends_at_the_same_place(
        self, b: Bounds, v: float, a: float
    ) -> None:
        state = (0.0, v * b.velocity, a * b.acceleration)
        stop = stop_of(state[1], state[2], b)
        duration = stop.t1 + stop.t2 + stop.t3
        assume(duration > 1e-6)
        question = ruckig.InputParameter(1)
        question.control_interface = ruckig.ControlInterface.Velocity
        question.current_position, question.current_velocity, question.current_acceleration = (
            [x] for x in state
        )
        question.target_velocity, question.target_acceleration = [0.0], [0.0]
        question.max_acceleration, question.max_jerk = [b.acceleration], [b.jerk]
        way = ruckig.Trajectory(1)
        assert ruckig.Ruckig(1).calculate(question, way) == ruckig.Result.Working
        assert duration == pytest.approx(way.duration, rel=1e-7, abs=1e-7)
        end = way.at_time(way.duration)[0][0]
        assert stop.after(state, math.inf)[0] == pytest.approx(end, rel=1e-7, abs=1e-7 * b.velocity)


def test_gliding_is_a_polynomial() -> None:
    assert glide((1.0, 2.0, 3.0), 6.0, 0.0) == (1.0, 2.0, 3.0)
    assert glide((1.0, 2.0, 3.0), 6.0, 2.0) == (1 + 4 + 6 + 8, 2 + 6 + 12, 3 + 12)
    assert glide((1.0, 2.0, 3.0), -6.0, 2.0) == (1 + 4 + 6 - 8, 2 + 6 - 12, 3 - 12)


class TestSafe:
    """``EXACT`` allows -3 … 4 rad, 3 rad/s, 3 rad/s², 6 rad/s³: each limit is met exactly, then passed."""

    @pytest.mark.parametrize(
        "state",
        [
            (4.0, 0.0, 0.0),  # at the edge, at rest
            (1.75, 3.0, 0.0),  # stops at the edge: 1.75 + 2.25
            (0.375, 2.25, 3.0),  # will be at 3 rad/s, and stops at the edge: 0.375 + 3.625
            (3.90625, 0.375, 0.0),
            (3.84375, -0.375, 3.0),  # turns, and stops at the edge: 3.84375 + 0.15625
            (0.0, -3.0, 1.0),
            (0.0, 1.0, -3.0),
        ],
    )
    def test_the_limits_are_allowed(self, state: JointMotion) -> None:
        p, v, a = state
        assert safe((p, v, a), EXACT)
        assert safe((1.0 - p, -v, -a), EXACT)  # the mirror image: 4 is 1 - -3

    @pytest.mark.parametrize(
        "state",
        [
            (4.0 + EPS, 0.0, 0.0),
            (4.0 + EPS, -0.375, 0.0),  # outside, on the way in
            (1.75 + EPS, 3.0, 0.0),
            (0.0, 3.0 + EPS, 0.0),  # too fast
            (0.0, 3.0 + EPS, -3.0),  # too fast, on the way down
            (0.0, 2.25 + EPS, 3.0),  # will be too fast: 2.25 + 3² / 12
            (0.0, -3.0 - EPS, 3.0),
            (0.0, 0.0, 3.0 + EPS),
            (0.0, 0.0, -3.0 - EPS),
            (0.0, 0.0, math.nan),
            (0.0, math.nan, 0.0),
            (math.nan, 0.0, 0.0),
            (3.90625 + EPS, 0.375, 0.0),
            (4.0 - 0.15625 + EPS, -0.375, 3.0),  # turns within, ends outside
            (-3.0 + 2.0**-20, -0.375, 3.0),  # ends within, turns outside
        ],
    )
    def test_beyond_them_is_not(self, state: JointMotion) -> None:
        p, v, a = state
        assert not safe((p, v, a), EXACT)
        assert not safe((1.0 - p, -v, -a), EXACT)

    def test_where_it_turns(self) -> None:
        """From -0.28125 rad/s at 3 rad/s² it turns after t = 0.109…: -0.28125 + 3 t - 3 t² = 0."""
        t = (3 - math.sqrt(9 - 4 * 3 * 0.28125)) / 6
        turn = -0.28125 * t + 3 * t * t / 2 - t**3
        assert stop_of(-0.28125, 3.0, EXACT).direction == 1.0
        assert safe((-3.0 - turn + 1e-9, -0.28125, 3.0), EXACT)
        assert not safe((-3.0 - turn - 1e-9, -0.28125, 3.0), EXACT)

    def test_too_fast_the_other_way_while_it_turns(self) -> None:
        """-0.25 rad/s at 2 rad/s²: it brakes against where the acceleration leads, not where it moves."""
        b = Bounds(-3.0, 4.0, velocity=0.25, acceleration=3.0, jerk=6.0)
        for sign in (1, -1):
            assert stop_of(sign * -0.25, sign * 2.0, b).direction == sign
            assert safe((0.0, sign * -0.25, sign * 2.0), b)
            assert not safe((0.0, sign * (-0.25 - EPS), sign * 2.0), b)

    @settings(max_examples=300, deadline=None)
    @given(bounds, st.floats(-1.1, 1.1), st.floats(-1.1, 1.1), st.floats(-0.1, 1.1))
    def test_agrees_with_sampling_the_stop(self, b: Bounds, v: float, a: float, where: float) -> None:
        """Velocity, acceleration and position at and around the bounds of a joint of twice the distance."""
        reach = 2 * stopping_distance(b.velocity, b.acceleration, b.jerk)
        b = Bounds(-0.3, reach - 0.3, b.velocity, b.acceleration, b.jerk)
        state = (-0.3 + where * reach, v * b.velocity, a * b.acceleration)
        stop = stop_of(state[1], state[2], b)
        way = simulated(state, stop, stop.t1 + stop.t2 + stop.t3, 400)
        over = max(
            float(np.max(b.lower - way[:, 0])) / reach,
            float(np.max(way[:, 0] - b.upper)) / reach,
            float(np.abs(way[:, 1]).max()) / b.velocity - 1,
            float(np.abs(way[:, 2]).max()) / b.acceleration - 1,
        )
        assume(abs(over) > 1e-4)  # what lies between two samples
        assert safe(state, b) == (over < 0)


class TestBounds:
    def test_what_they_say(self) -> None:
        made = Bounds(-1.0, 2.0, 3.0, 4.0, 5.0)
        assert (made.lower, made.upper, made.velocity, made.acceleration, made.jerk) == (-1, 2, 3, 4, 5)
        assert made.name == "joint"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"lower": math.nan},
            {"upper": math.inf},
            {"lower": -math.inf},
            {"velocity": math.inf},
            {"acceleration": math.nan},
            {"jerk": math.inf},
            {"velocity": 0.0},
            {"acceleration": 0.0},
            {"jerk": 0.0},
            {"velocity": -1.0},
            {"lower": 2.0},
            {"lower": 3.0},
        ],
        ids=str,
    )
    def test_what_contradicts_itself_is_refused(self, wrong: dict[str, float]) -> None:
        values = {"lower": -1.0, "upper": 2.0, "velocity": 1.0, "acceleration": 10.0, "jerk": 100.0}
        with pytest.raises(ConfigError) as refusal:
            Bounds(**{**values, **wrong}, name="elbow")
        v = {name: f"{value:g}" for name, value in {**values, **wrong}.items()}
        assert str(refusal.value) == (
            f"elbow: lower {v['lower']}, upper {v['upper']} rad, velocity {v['velocity']} rad/s, "
            f"acceleration {v['acceleration']} rad/s², jerk {v['jerk']} rad/s³; expected finite values, "
            "lower < upper, the others above 0"
        )

    def test_a_joint_must_be_able_to_stop_within_its_range(self) -> None:
        assert Bounds(0.0, 2.25, 3.0, 3.0, 6.0).upper == 2.25  # 2.25 rad are just enough
        with pytest.raises(ConfigError) as refusal:
            Bounds(0.25, 2.25, 3.0, 3.0, 6.0, "wrist")
        assert str(refusal.value) == (
            "wrist: stopping from 3 rad/s at 3 rad/s² and 6 rad/s³ takes 2.250 rad, but the joint's whole "
            "range is 2.25 - 0.25 = 2.000 rad; expected limits within which the joint can stop; lower "
            "max_velocity, or raise max_acceleration and max_jerk"
        )

    def test_inside_leaves_room_for_what_happens_between_ticks(self) -> None:
        inner = Bounds(-1.0, 3.0, 2.0, 20.0, 400.0, "base").inside(0.01)
        assert inner.name == "base"
        assert inner.lower == -1.0 + 4e-6
        assert inner.upper == 3.0 - 4e-6
        assert (
            inner.velocity == (2.0 - 400.0 * 0.01 * 0.01 / 8) * (1 - 1e-6) == pytest.approx(1.995, rel=2e-6)
        )
        assert inner.acceleration == 20.0 * (1 - 1e-6)
        assert inner.jerk == 400.0 * (1 - 1e-6)

    def test_a_tick_within_which_the_jerk_alone_is_too_fast(self) -> None:
        assert Bounds(0.0, 9.0, 2.0, 20.0, 400.0).inside(0.1).velocity == 1.5 * (1 - 1e-6)
        for dt in (0.2, 0.4):  # 400 · 0.2² / 8 is 2 rad/s already
            with pytest.raises(ConfigError) as refusal:
                Bounds(0.0, 9.0, 2.0, 20.0, 400.0, "base").inside(dt)
            assert str(refusal.value) == (
                f"base: within a tick of {1000 * dt:g} ms a jerk of 400 rad/s³ adds 400 · {dt:g}² / 8 = "
                f"{8 * (dt / 0.4) ** 2:g} rad/s, but max_velocity is 2; expected less than max_velocity; "
                "raise control.rate_hz or lower max_jerk"
            )

    @settings(max_examples=100, deadline=None)
    @given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.001, 0.02))
    def test_a_velocity_within_at_both_ends_of_a_tick_is_within_the_bound_between(
        self, before: float, after: float, dt: float
    ) -> None:
        b = Bounds(-9.0, 9.0, 2.0, 50.0, 400.0)
        inner = b.inside(dt).velocity
        v, w = before * inner, after * inner
        jerk = min(b.jerk, 2 * inner / dt**2)
        t = np.linspace(0, dt, 50)
        between = (
            v + (w - v) * t / dt + jerk * t * (dt - t) / 2
        )  # the parabola through both, curved by the jerk
        assert between.max() <= b.velocity


class TestStoppingDistance:
    @pytest.mark.parametrize(
        ("velocity", "acceleration", "jerk", "expected"),
        [
            (3.0, 3.0, 6.0, 2.25),
            (1.5, 3.0, 6.0, 0.75),
            (0.375, 3.0, 6.0, 0.09375),
            (0.375, 1e9, 6.0, 0.09375),
            (2.0, 1.0, 1e12, 2.0 + 1e-12),  # v² / 2a where jerk costs nothing
        ],
    )
    def test_closed_forms(self, velocity: float, acceleration: float, jerk: float, expected: float) -> None:
        assert stopping_distance(velocity, acceleration, jerk) == expected

    @settings(max_examples=100, deadline=None)
    @given(bounds)
    def test_is_where_the_stop_ends(self, b: Bounds) -> None:
        end = stop_of(b.velocity, 0.0, b).after((0.0, b.velocity, 0.0), math.inf)[0]
        assert stopping_distance(b.velocity, b.acceleration, b.jerk) == pytest.approx(end, rel=1e-9)


class TestWellInside:
    """What spares the exact look may never say more than it."""

    JOINT = Bounds(-1.0, 1.0, 2.0, 20.0, 400.0)

    @given(bounds, parts, parts, st.floats(0, 1.2), st.sampled_from([1, -1]))
    @settings(max_examples=2000)
    def test_it_is_safe(self, b: Bounds, speed: float, push: float, part: float, side: int) -> None:
        """As near to either end as it allows, and nearer: from there on only the exact look can tell."""
        v, a = speed * b.velocity, push * b.acceleration
        most = abs(v) + a * a / (2 * b.jerk)
        longest = 3 * b.acceleration / b.jerk + most / b.acceleration
        state = (side * (b.upper - part * most * longest), v, a)
        if well_inside(state, b):
            assert safe(state, b)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_at_rest_the_whole_range_is(self, sign: int) -> None:
        assert well_inside((sign * 1.0, 0.0, 0.0), self.JOINT)
        assert not well_inside((sign * math.nextafter(1.0, 2.0), 0.0, 0.0), self.JOINT)

    @pytest.mark.parametrize(
        "state",
        [
            (0.0, 2.1, 0.0),
            (0.0, 1.9, 20.0),  # it would come to 2.4 rad/s
            (0.0, 0.0, 21.0),
            (math.nan, 0.0, 0.0),
            (0.0, math.nan, 0.0),
            (0.0, 0.0, math.nan),
        ],
    )
    def test_what_breaks_a_bound_is_not(self, state: JointMotion) -> None:
        assert not well_inside(state, self.JOINT)

    def test_nearly_all_of_a_range_is(self) -> None:
        """Else it would spare nothing."""
        assert well_inside((0.5, 1.0, 5.0), self.JOINT)
        assert well_inside((0.0, 2.0, 0.0), self.JOINT)
