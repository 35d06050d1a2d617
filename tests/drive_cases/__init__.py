"""What the contract suite (``tests/contract/test_drive*.py``) must know of each kind of drive.

``tests/drive_cases/NAME.py`` has ``CASE``; and ``VARIANTS``, ``{"bridge": Case(…)}``, where a kind has other
wires or framings that are worth the whole suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from wall_edge_bridge.drives import DriveSettings, Joint


def _unsaid(_: Any) -> object:
    pytest.fail("this kind's Case needs memory=…: what a host could write into its twin's motors")


@dataclass(frozen=True)
class Case:
    """One kind's settings and joints, and what it promises beyond the contract."""

    settings: DriveSettings
    joints: tuple[Joint, ...]
    """Six, limits -1.5 to 1.0 rad, directions mixed, zeros mixed."""
    tolerance: float
    """rad: how finely positions are reported."""
    settles_within: float
    """rad: how near a held setpoint gets."""
    a_fault: str
    """One that needs a person."""
    watchdog_s: float | None = None
    """What arm_watchdog(0.1) answers; None: the kind has none."""
    memory: Callable[[Any], object] = _unsaid
    """``(twin)`` → a copy of all that a host could write into its motors: registers, modes, goals, watchdogs.
    Compared with ==: a drive that only looks must leave it as it was."""
    tells_late: bool = True
    """Whether a reply to the cycle before can be told from one to this cycle when it arrives within this one.
    False bounds the harm: what is believed is one cycle old at most."""
    detects_damage: bool = True
    """Whether the framing has a checksum of its own (CAN has: its controllers drop damaged frames)."""
    notices_within_s: float = 0.03
    """How soon cycles tell a fault, or lost torque, by name."""
    seventh: Joint | None = None
    """For the rate of seven joints; None: the first one again, with the next id."""
    unwatch: Callable[[Any], object] = lambda _: None
    """``(twin)``: switches off a watchdog that its motors run though nobody armed one."""
