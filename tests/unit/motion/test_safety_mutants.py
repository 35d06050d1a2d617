"""Faults that ``make mutate`` put into the motion core and that the other tests let pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wall_edge.config import Bounds
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox_types import Chunk
from wall_edge.runtime.motion.braking import glide, safe, stop_of
from wall_edge.runtime.motion.chunk_track import ChunkTrack
from wall_edge.runtime.motion.limits import Limiter, _approach

DT = 0.004
TWO = [Bounds(-1.0, 1.0, 2.0, 20.0, 400.0), Bounds(-2.0, 2.0, 3.0, 30.0, 900.0)]


def moving() -> Limiter:
    made = Limiter(TWO, DT)
    made.reset([0.25, -0.5])
    made.follow(
        np.array([[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]]), np.array([[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]])
    )
    return made


@pytest.mark.parametrize(("now", "then"), [(1, 1), (1, 2), (2, 1), (3, 3), (3, 2), (2, 3)])
def test_a_reference_for_other_joints_moves_nothing(now: int, then: int) -> None:
    """One joint's step would otherwise be handed to every joint, as numpy broadcasts it."""
    made = moving()
    before = made.state.copy()
    with pytest.raises(ValueError, match="argument"):
        made.follow(np.zeros((3, now)), np.zeros((3, then)))
    assert (made.state == before).all()


@pytest.mark.parametrize("unknown", [[None, 0.0], [0.0, None]])
def test_a_start_of_unknown_angles_is_refused(unknown: Any) -> None:
    """A position that was never read is no number, and no crash either."""
    with pytest.raises(RuntimeFault, match="expected 2 finite angles"):
        Limiter(TWO, DT).reset(unknown)


def test_a_start_in_whole_numbers_is_one_in_radians() -> None:
    made = Limiter(TWO, DT)
    made.reset([0, -1])
    assert made.state.tolist() == [[0.0, -1.0], [0.0, 0.0], [0.0, 0.0]]
    assert made.state.dtype == np.float64


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stop_ends_exactly_at_rest_in_the_instant_it_ends(sign: int) -> None:
    """Its three parts as computed leave 2e-16 rad/s and 4e-16 rad/s² over."""
    start = (0.0, sign * 2.1, sign * 2.9)
    stop = stop_of(start[1], start[2], Bounds(-50.0, 50.0, 5.0, 3.0, 7.0))
    total = stop.t1 + stop.t2 + stop.t3
    assert total - stop.t1 - stop.t2 - stop.t3 == 0
    state = start
    for jerk, seconds in ((-sign * 7.0, stop.t1), (0.0, stop.t2), (sign * 7.0, stop.t3)):
        state = glide(state, jerk, seconds)
    assert abs(state[1]) > 0
    assert stop.after(start, total) == (state[0], 0.0, 0.0)


@pytest.mark.parametrize("gain", [0.5, 1.0, 60.0])
def test_the_two_laws_of_an_approach_meet(gain: float) -> None:
    near = 20.0 / gain**2
    for sign in (1, -1):
        assert _approach(sign * near, gain, 20.0) == pytest.approx(sign * 20.0 / gain, rel=1e-15)
        assert _approach(sign * 4.5 * near, gain, 20.0) == pytest.approx(
            sign * 8**0.5 * 20.0 / gain, rel=1e-15
        )


# A third of the jerk's sixth is exact in binary, so everything below is exact.
EXACT = Bounds(-3.0, 4.0, velocity=3.0, acceleration=3.0, jerk=6.0)


def both(position: float, velocity: float, acceleration: float) -> tuple[bool, bool]:
    """Whether a state is safe, and whether its mirror image is: 4 is 1 - -3."""
    mirrored = (1.0 - position, -velocity, -acceleration)
    return safe((position, velocity, acceleration), EXACT), safe(mirrored, EXACT)


def test_a_little_acceleration_counts_towards_the_fastest() -> None:
    """0.75 rad/s² taken back at 6 rad/s³ add 0.75² / 12 = 0.046875 rad/s."""
    assert both(0.0, 3.0 - 0.046875, 0.75) == (True, True)
    assert both(0.0, 3.0 - 0.046875 + 2.0**-40, 0.75) == (False, False)


@pytest.mark.parametrize("velocity", [0.0, 0.09375, 0.375, 0.75, 1.5])
def test_leaving_the_edge_is_safe(velocity: float) -> None:
    """It does not turn any more: where it would have turned before is no part of the stop."""
    assert both(-3.0, velocity, 0.0) == (True, True)
    assert both(-3.0 - 2.0**-40, velocity, 0.0) == (False, False)


@pytest.mark.parametrize("sign", [1, -1])
def test_backwards_at_full_speed_while_turning(sign: int) -> None:
    """At 6 rad/s² and 6 rad/s³ -1.5 rad/s become 1.5 before the acceleration is taken back: 6² / 12 = 3."""
    wide = Bounds(-50.0, 50.0, velocity=1.5, acceleration=6.0, jerk=6.0)
    assert stop_of(sign * -1.5, sign * 6.0, wide).direction == sign
    assert safe((0.0, sign * -1.5, sign * 6.0), wide)
    assert not safe((0.0, sign * (-1.5 - 2.0**-40), sign * 6.0), wide)
    assert not safe((0.0, sign * (-1.5 + 2.0**-40), sign * 6.0), wide)


@pytest.mark.parametrize("velocity", [-0.7, -0.74, -0.749])
def test_where_it_turns_when_it_barely_does(velocity: float) -> None:
    """From 3 rad/s² it turns after (3 - √(9 + 12 v)) / 6 seconds, and the root is below 1."""
    t = (3 - (9 + 12 * velocity) ** 0.5) / 6
    turn = velocity * t + 3 * t * t / 2 - t**3
    assert both(-3.0 - turn + 1e-9, velocity, 3.0) == (True, True)
    assert both(-3.0 - turn - 1e-9, velocity, 3.0) == (False, False)


def test_outside_and_on_the_way_in_is_outside() -> None:
    """It turns without coming back to where it is now, so that where it is now is the farthest."""
    assert both(4.0, -0.7, 3.0) == (True, True)
    assert both(4.0 + 2.0**-40, -0.7, 3.0) == (False, False)


def test_a_chunk_of_other_numbers_is_kept_in_float64() -> None:
    """And steps may be as short as a nanosecond."""
    track = ChunkTrack(
        np.array([-1.0]), np.array([1.0]), period_ns=4_000_000, max_age_ns=10**9, blend_ns=10**7
    )
    assert track.offer(Chunk(1, 0, 1, 0, np.float32([[0.1], [0.2]]), 0), 0) is None
    track.tick(np.zeros((3, 1)))
    assert track.chunk is not None
    assert track.chunk.positions.dtype == np.float64
