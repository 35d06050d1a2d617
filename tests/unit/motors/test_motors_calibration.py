"""What a calibration makes of what the joints said."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from wall_edge_bridge.drives import Drive, Feedback
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.sim import VirtualClock, wire_to

from wall_edge.errors import BusTimeout, ConfigError
from wall_edge.motors.calibration import LEAST_TURN, MARGIN, Sweep, calibrated, require_unwrapped


def drive(name: str, direction: int = 1) -> Drive:
    kind = kind_named(name)
    joint = kind.joint(name="pan", id=1, lower=-1.0, upper=1.0, max_velocity=1.0, direction=direction)  # type: ignore[arg-type]
    settings, clock = kind.settings(kind=name), VirtualClock()
    twin = kind.make_twin(settings, [joint], [0.0], timed=False)
    return kind.open_drive(settings, [joint], wire_to(twin, clock), clock=clock, start_slack_rad=0.0)


def sweep(zero: float, positive: float, lowest: float, highest: float) -> Sweep:
    return Sweep(*(np.array([value]) for value in (zero, positive, lowest, highest)))


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(("name", "key"), [("feetech", "zero_ticks"), ("damiao", "zero_rad")])
def test_the_zero_moves_by_what_the_joint_said(name: str, key: str, direction: int) -> None:
    (keys,), _ = calibrated(drive(name, direction), sweep(0.3, 0.5, -0.4, 0.9), [{}])
    expected = {"zero_ticks": 2048 + direction * round(0.3 * 2048 / math.pi), "zero_rad": direction * 0.3}
    assert keys[key] == expected[key]
    assert keys["direction"] == direction
    assert (keys["lower"], keys["upper"]) == (
        pytest.approx(-0.7 + MARGIN, abs=1e-4),
        pytest.approx(0.6 - MARGIN, abs=1e-4),
    )


def test_a_joint_that_counts_backwards_is_turned_round() -> None:
    (keys,), _ = calibrated(drive("feetech"), sweep(0.3, 0.1, -0.4, 0.9), [{}])
    assert keys["direction"] == -1
    assert keys["lower"] == pytest.approx(-0.6 + MARGIN, abs=1e-4)
    assert keys["upper"] == pytest.approx(0.7 - MARGIN, abs=1e-4)


@pytest.mark.parametrize(
    ("said", "how"),
    [
        (sweep(0.0, LEAST_TURN / 2, -1.0, 1.0), "in its positive direction"),
        (sweep(0.0, math.nan, -1.0, 1.0), "in its positive direction"),
        (sweep(0.0, 0.2, 0.0, LEAST_TURN / 2), "through its range"),
        (sweep(0.0, 0.2, math.nan, 1.0), "through its range"),
    ],
)
def test_a_joint_that_was_not_moved_or_never_spoke_is_named(said: Sweep, how: str) -> None:
    with pytest.raises(ConfigError, match=f"pan was not moved {how}"):
        calibrated(drive("feetech"), said, [{}])


calibrate = importlib.import_module("wall_edge.cli.motors.calibrate")
MEMORY = {"homing_offset": -3, "range_ticks": (1900, 2500)}


@pytest.mark.parametrize("direction", [1, -1])
def test_what_the_motor_holds_is_written_and_bounds_the_limits(direction: int) -> None:
    """Else the next start would refuse the calibration: a servo stops at its own limits."""
    said = sweep(0.0, 0.2, -1.0, 1.0)
    (keys,), (note,) = calibrated(drive("feetech", direction), said, [MEMORY])
    assert {name: keys[name] for name in MEMORY} == MEMORY
    ends = sorted(direction * (tick - 2048) * math.pi / 2048 for tick in MEMORY["range_ticks"])  # type: ignore[attr-defined]
    assert (keys["lower"], keys["upper"]) == pytest.approx(tuple(ends), abs=1e-4)
    assert "pan was moved beyond 1900 to 2500 ticks" in note


@pytest.mark.parametrize("ticks", [(0, 4095), (0, 0)])
def test_a_memory_that_stops_nothing_changes_no_limit(ticks: tuple[int, int]) -> None:
    (keys,), notes = calibrated(drive("feetech"), sweep(0.0, 0.2, -1.0, 1.0), [{"range_ticks": ticks}])
    assert (keys["lower"], keys["upper"], notes) == (-1.0 + MARGIN, 1.0 - MARGIN, [])


def test_a_memory_that_excludes_the_zero_is_named() -> None:
    with pytest.raises(ConfigError, match="joint pan: lower is"):
        calibrated(drive("feetech"), sweep(0.0, 0.2, -1.0, 1.0), [{"range_ticks": (3000, 3100)}])


@pytest.mark.parametrize(
    ("before", "now", "wraps"), [(3.1, -3.1, True), (0.5, -2.5, False), (math.nan, 3.0, False)]
)
def test_a_joint_that_jumps_half_a_turn_between_two_looks_is_named(
    before: float, now: float, wraps: bool
) -> None:
    """Its least and greatest angle would be a whole turn apart, and every number in between wrong."""
    joints = drive("feetech").joints
    if not wraps:
        require_unwrapped(joints, np.array([before]), np.array([now]))
        return
    with pytest.raises(ConfigError, match="pan jumped by more than half a turn"):
        require_unwrapped(joints, np.array([before]), np.array([now]))


class Forgetful:
    """Drives whose first looks are lost, then partly; only the third is whole."""

    def __init__(self) -> None:
        self.joints = drive("feetech").joints
        self.looks = 0

    def cycle(self, _: None, deadline_ns: int) -> Feedback:
        self.looks += 1
        if self.looks == 1:
            raise BusTimeout("no answer from pan")
        zero = np.zeros(1)
        when = np.array([deadline_ns if self.looks == 3 else 0])
        return Feedback(zero + self.looks, zero, zero, zero, zero, when, ((),), ((),))


def test_a_lost_reply_neither_ends_a_calibration_nor_passes_for_a_position() -> None:
    """On a busy machine the first one did; an old position would have become the zero."""
    drives = Forgetful()
    np.testing.assert_array_equal(calibrate._look(drives), [3.0])  # type: ignore[arg-type]


def test_a_motor_that_stays_silent_ends_it_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "_TRIES", 2)
    with pytest.raises(BusTimeout, match="no answer from pan; check cable and supply"):
        calibrate._look(Forgetful())  # type: ignore[arg-type]
