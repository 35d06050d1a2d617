"""What a calibration makes of what the joints said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from wall_edge_bridge.drives import Drive
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.sim import VirtualClock, wire_to

from wall_edge.errors import ConfigError
from wall_edge.motors.calibration import LEAST_TURN, MARGIN, Sweep, calibrated


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
    (keys,) = calibrated(drive(name, direction), sweep(0.3, 0.5, -0.4, 0.9))
    expected = {"zero_ticks": 2048 + direction * round(0.3 * 2048 / math.pi), "zero_rad": direction * 0.3}
    assert keys[key] == expected[key]
    assert keys["direction"] == direction
    assert (keys["lower"], keys["upper"]) == (
        pytest.approx(-0.7 + MARGIN, abs=1e-4),
        pytest.approx(0.6 - MARGIN, abs=1e-4),
    )


def test_a_joint_that_counts_backwards_is_turned_round() -> None:
    (keys,) = calibrated(drive("feetech"), sweep(0.3, 0.1, -0.4, 0.9))
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
        calibrated(drive("feetech"), said)
