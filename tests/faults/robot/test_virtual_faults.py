"""Every fault on demand: where the arm ends up, how soon it reacts, and that no limit is broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig, load_robot
from wall_edge.sim import evaluate as evaluation
from wall_edge.sim.evaluate import Cell
from wall_edge.sim.faults import FAULTS
from wall_edge.sim.virtual import Delays, VirtualRobot

DELAY_MS = 100.0
PERIOD_MS = 1000 / 250
LOOK_MS = 100 + 1000 / 30
"""Chunks are begun so far apart at most: a period, and the wait for the next picture."""

WITHIN_MS = {
    "policy-killed": 50 + PERIOD_MS,  # the supervisor looks every 50 ms
    "policy-hung": 767 + PERIOD_MS,  # the chunk's end
    "policy-slow": 767 + PERIOD_MS,
    "chunk-nan": LOOK_MS + PERIOD_MS,
    "chunk-units": LOOK_MS + PERIOD_MS,
    "chunk-length": LOOK_MS + PERIOD_MS,
    "chunk-old": LOOK_MS + PERIOD_MS,
    "chunk-epoch": LOOK_MS + PERIOD_MS,
    "camera-frozen": 500 + 2 * LOOK_MS + 50 + PERIOD_MS,  # cameras.*.frozen_ms, then the supervisor
    "feedback-stale": 100 + 2 * PERIOD_MS,  # control.feedback_timeout_ms
    "feedback-impossible": 100 + 2 * PERIOD_MS,
    "feedback-late": 100 + 2 * PERIOD_MS,
    "joint-silent": 100 + 2 * PERIOD_MS,
    "joint-jumped": 100 + 2 * PERIOD_MS,
    "force-lost": 5_000,  # as soon as the task needs the joint to move by control.following_error_rad
    "torque-lost": 20 + 2 * PERIOD_MS,  # FeetechDrive asks for it every 20 ms
    "servo-rebooted": 100 + 2 * PERIOD_MS,
    "servo-limits": 5_000,
    "second-program": 20 + 2 * PERIOD_MS,
    "tick-overrun": 50 + 2 * PERIOD_MS,  # the stall itself
    "memory-corrupted": PERIOD_MS,
    "supervisor-killed": 1000 + 2 * PERIOD_MS,  # control.heartbeat_timeout_ms
    "emergency-stop": 2 * PERIOD_MS,
}


@pytest.fixture(scope="module")
def drifting(shipped_bundle: Path) -> RobotConfig:
    path = Path(__file__).parents[3] / "examples" / "tabletop" / "drifting.yaml"
    config = replace(load_robot(path), bundle=shipped_bundle)
    evaluation._loops.clear()
    evaluation._open(config, Bundle(config.bundle))
    return config


NAMED = {
    "feedback-late": "replies came too late to be believed",
    "joint-silent": "feedback of joint shoulder_pan is",
    "joint-jumped": "since then shoulder_pan said",
    "force-lost": "does not follow",
    "torque-lost": "joint shoulder_pan lost its torque",
    "servo-rebooted": "joint shoulder_pan",
    "servo-limits": "does not follow",
    "second-program": "expected one program on the bus",  # its answers are seen before the torque is missed
}
"""What a person reads: the joint at fault, and why."""


@pytest.mark.parametrize("name", NAMED)
def test_a3_a4_a8_a9_a_fault_of_the_servos_is_named(drifting: RobotConfig, name: str) -> None:
    actions = evaluation._actions(
        drifting, *evaluation._opened["robot"][1:], Cell(drifting.policy.scheduler, Delays(), 1)
    )
    robot = VirtualRobot(drifting, actions, 2, Delays(DELAY_MS, 0, DELAY_MS))
    outcome = evaluation._with_fault(robot, name)
    assert NAMED[name] in str(robot.loop.machine.fault)
    assert outcome.reaction_ms is not None
    assert outcome.reaction_ms <= WITHIN_MS[name]


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_ends_where_it_must(drifting: RobotConfig, name: str) -> None:
    cell = Cell(drifting.policy.scheduler, Delays(DELAY_MS, 0, DELAY_MS), 1, name)
    outcome = evaluation._episode(cell, 1)
    assert outcome.final_state == FAULTS[name].expected.name
    assert outcome.limit_violations == 0
    assert outcome.reaction_ms is not None
    assert outcome.reaction_ms <= WITHIN_MS[name]
