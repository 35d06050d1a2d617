"""How a motor's shaft moves under a torque."""

from __future__ import annotations

import numpy as np
import pytest
from wall_edge_bridge.sim.rotor import Rotor

MS = 1_000_000


def powered(**options: float) -> Rotor:
    rotor = Rotor(0.0, **options)
    rotor.advance(0)
    rotor.powered = True
    return rotor


@pytest.mark.parametrize("kd", [0.5, 1.0, 3.0])
def test_stiffness_and_damping_bring_it_to_its_goal_and_keep_it_there(kd: float) -> None:
    rotor = powered()
    rotor.follow(0.7, 0.0, 30.0, kd, 0.0)
    rotor.advance(5000 * MS)
    assert rotor.position == pytest.approx(0.7, abs=1e-6)
    assert rotor.velocity == pytest.approx(0.0, abs=1e-6)


def test_a_load_makes_it_sag_by_torque_over_stiffness() -> None:
    rotor = powered()
    rotor.load = -3.0
    rotor.follow(0.0, 0.0, 30.0, 1.0, 0.0)
    rotor.advance(5000 * MS)
    assert rotor.position == pytest.approx(-0.1, abs=1e-4)
    rotor.follow(0.0, 0.0, 30.0, 1.0, 3.0)  # what a feed-forward is for
    rotor.advance(10_000 * MS)
    assert rotor.position == pytest.approx(0.0, abs=1e-4)
    assert rotor.effort == pytest.approx(3.0, abs=1e-2)


def test_a_torque_accelerates_the_inertia_and_no_more_than_its_most() -> None:
    rotor = powered(inertia=0.1, friction=0.0, max_effort=2.0)
    rotor.follow(0.0, 0.0, 0.0, 0.0, 50.0)
    rotor.advance(100 * MS)
    assert rotor.velocity == pytest.approx(2.0 / 0.1 * 0.1, rel=1e-3)
    assert rotor.position == pytest.approx(0.5 * 20 * 0.1**2, rel=5e-3)
    rotor.max_velocity = 2.5
    rotor.advance(1000 * MS)
    assert rotor.velocity == 2.5


def test_without_torque_it_coasts_to_rest_and_stays() -> None:
    rotor = powered(inertia=0.01, friction=0.05)
    rotor.follow(0.0, 3.0, 0.0, 1.0, 0.0)
    rotor.advance(500 * MS)
    speed, where = rotor.velocity, rotor.position
    assert speed > 2.0
    rotor.release()
    rotor.advance(10_000 * MS)
    assert rotor.position - where == pytest.approx(speed * 0.01 / 0.05, rel=0.02)
    rest = rotor.position
    rotor.advance(60_000 * MS)
    assert (rotor.position, rotor.velocity) == (rest, 0.0)


def test_unpowered_goals_move_nothing_but_loads_do() -> None:
    rotor = Rotor(0.2)
    rotor.follow(1.0, 0.0, 30.0, 1.0, 5.0)
    rotor.advance(0)
    rotor.advance(1000 * MS)
    assert rotor.position == 0.2
    rotor.load = 0.1
    rotor.advance(1500 * MS)
    assert rotor.position > 0.25


def test_the_path_does_not_depend_on_how_often_it_is_asked_for_and_never_goes_back() -> None:
    coarse, fine = powered(), powered()
    for rotor in (coarse, fine):
        rotor.follow(1.0, 0.0, 20.0, 0.8, 0.0)
    for now in np.linspace(0, 700 * MS, 991).astype(int):
        fine.advance(int(now))
    coarse.advance(700 * MS)
    assert (coarse.position, coarse.velocity) == (fine.position, fine.velocity)
    coarse.advance(100 * MS)
    assert coarse.position == fine.position


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_no_torque(number: float) -> None:
    """A request may carry any float: the shaft must not be lost for good."""
    rotor = powered()
    rotor.follow(number, number, 30.0, 1.0, number)
    rotor.advance(100 * MS)
    assert abs(rotor.position) < 1e3
    rotor.follow(0.2, 0.0, 30.0, 1.0, 0.0)
    rotor.advance(20_000 * MS)
    assert rotor.position == pytest.approx(0.2, abs=1e-3)
