"""Every fault on demand: where the arm ends up, how soon it reacts, and that no limit is broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wall_edge.config import RobotConfig, load_robot
from wall_edge.sim import evaluate as evaluation
from wall_edge.sim.evaluate import Cell
from wall_edge.sim.faults import FAULTS
from wall_edge.sim.virtual import Delays

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
    "tick-overrun": 50 + 2 * PERIOD_MS,  # the stall itself
    "memory-corrupted": PERIOD_MS,
    "supervisor-killed": 1000 + 2 * PERIOD_MS,  # control.heartbeat_timeout_ms
    "emergency-stop": 2 * PERIOD_MS,
}


@pytest.fixture(scope="module")
def drifting(shipped_bundle: Path) -> RobotConfig:
    path = Path(__file__).parents[2] / "examples" / "tabletop" / "drifting.yaml"
    config = replace(load_robot(path), bundle=shipped_bundle)
    evaluation._made.clear()
    evaluation._open(config)
    return config


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_ends_where_it_must(drifting: RobotConfig, name: str) -> None:
    cell = Cell(drifting.policy.scheduler, Delays(DELAY_MS, 0, DELAY_MS), 1, name)
    outcome = evaluation._episode(cell, 1)
    assert outcome.final_state == FAULTS[name].expected.name
    assert outcome.limit_violations == 0
    assert outcome.reaction_ms is not None
    assert outcome.reaction_ms <= WITHIN_MS[name]
