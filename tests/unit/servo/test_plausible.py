"""A4: a step that no motion explains stays refused; what motion explains is believed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wall_edge.runtime.servo.feedback.plausible import Plausibility

MS = 1_000_000
FASTEST = 12.0
"""rad/s; in 4 ms 0.048 rad and the noise."""


class Joint:
    """One joint at 250 Hz, from 0 rad, with its setpoint there."""

    def __init__(self) -> None:
        self.judge, self.now, self.setpoint = Plausibility(np.array([FASTEST]), 4 * MS), MS, np.zeros(1)
        self.judge.restart(np.zeros(1), np.array([self.now]))

    def says(
        self, position: float, setpoint: float | None = None, after_ms: float = 4, asked_ms: float = 0
    ) -> bool:
        """``asked_ms`` before it was received."""
        self.now += round(after_ms * MS)
        asked = self.now - round(asked_ms * MS)
        believed = self.judge.believe(np.array([position]), np.array([self.now]), self.setpoint, asked)
        if setpoint is not None:
            self.setpoint = np.array([setpoint])
        self.judge.sent(self.setpoint)
        return bool(believed[0])


@pytest.mark.parametrize("jump", [1.0, -1.0, 0.3, 0.1, float("nan")])
def test_a_jump_that_stays_is_refused_for_ever(jump: float) -> None:
    joint = Joint()
    assert not any(joint.says(jump) for _ in range(500))


@pytest.mark.parametrize("jump", [1.0, 0.3, 0.12])
def test_a_jump_that_the_servo_regulates_away_is_refused_for_ever(jump: float) -> None:
    joint = Joint()
    assert not any(joint.says(jump * 0.9**k) for k in range(500))


@pytest.mark.parametrize("jump", [1.0, 0.3])
def test_a_jump_while_the_joint_moves_is_refused_for_ever_in_either_direction(jump: float) -> None:
    for sign in (1, -1):
        joint = Joint()
        true = [0.016 * k for k in range(200)]  # 4 rad/s, a tenth of a radian behind the setpoint
        assert all(joint.says(at, at + 0.1) for at in true[:50])
        assert not any(joint.says(at + sign * jump, at + 0.1) for at in true[50:])


@pytest.mark.parametrize("gap_ms", [20, 60, 90])
def test_a_jump_during_silence_is_refused_though_time_would_allow_it(gap_ms: float) -> None:
    joint = Joint()
    assert not joint.says(0.2, after_ms=gap_ms)
    assert not any(joint.says(0.2) for _ in range(100))


@pytest.mark.parametrize("gap_ms", [4, 20, 60, 90])
def test_motion_towards_the_setpoint_is_believed_after_silence(gap_ms: float) -> None:
    joint = Joint()
    assert joint.says(0.0, setpoint=0.4)
    assert joint.says(min(0.4, 4e-3 * gap_ms), after_ms=gap_ms)


@pytest.mark.parametrize("garbage", [lambda _: 3.0, lambda k: (-1) ** k * 2.0, lambda _: float("nan")])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_a_moving_joint_is_believed_again_after_readings_that_were_garbage(
    garbage: Callable[[int], float], count: int
) -> None:
    joint = Joint()
    assert all(joint.says(0.016 * k, 0.016 * k + 0.1) for k in range(10))
    for k in range(10, 10 + count):
        assert not joint.says(garbage(k), 0.016 * k + 0.1)
    assert joint.says(0.016 * (10 + count))


@pytest.mark.parametrize("stall_ms", [8, 20, 60, 90])
def test_motion_during_a_stall_of_our_own_is_believed_when_an_answer_was_fetched_late(
    stall_ms: float,
) -> None:
    """The answer was made at once, read after the stall; 4 ms later the joint has gone on for all of it."""
    joint = Joint()
    assert all(joint.says(0.016 * k, 0.016 * k + 0.3) for k in range(10))
    assert joint.says(0.16, 0.46, after_ms=4 + stall_ms, asked_ms=stall_ms)
    assert joint.says(0.16 + min(0.3, 4e-3 * (4 + stall_ms)), 0.46)


def test_a_push_by_hand_is_motion() -> None:
    joint = Joint()
    assert all(joint.says(0.02 * k) for k in range(40))  # 5 rad/s, away from the setpoint


def test_each_joint_is_judged_by_itself_and_an_old_reading_keeps_its_verdict() -> None:
    judge = Plausibility(np.full(3, FASTEST), 4 * MS)
    judge.restart(np.zeros(3), np.full(3, MS))
    times = np.array([5 * MS, 5 * MS, MS])
    position = np.array([0.01, 1.0, 0.0])
    assert judge.believe(position, times, np.zeros(3), int(times.max())).tolist() == [True, False, True]
    assert judge.believe(position, times, np.zeros(3), int(times.max())).tolist() == [True, False, True]
