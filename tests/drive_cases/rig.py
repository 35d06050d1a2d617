"""A drive, its twin and the wire between them, in virtual time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives import Drive, Feedback, Joint, Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds import Kind, MotorIdentity, kind_named
from wall_edge_bridge.sim import ByteTwin, FrameTwin, VirtualClock, wire_to

from tests.drive_cases import Case
from wall_edge.errors import ConfigError

START = np.array([0.1, -0.2, 0.3, -0.4, 0.5, -0.6])
PERIOD_NS = 10_000_000
MS = 1_000_000


def load_case(name: str) -> tuple[Kind, Case]:
    """By "kind" or "kind-variant"; skips where the kind's own library is not installed."""
    kind_name, _, variant = name.partition("-")
    try:
        kind = kind_named(kind_name)
    except ConfigError as error:
        pytest.skip(str(error))
    module = importlib.import_module(f"tests.drive_cases.{kind_name}")
    return kind, module.VARIANTS[variant] if variant else module.CASE


class Rig:
    """Motors standing at START without torque, and a drive that is not connected yet.

    ``sent`` has all that went over the wire to the motors.
    """

    def __init__(
        self,
        kind: Kind,
        case: Case,
        *,
        joints: Sequence[Joint] | None = None,
        positions: Floats = START,
        slack: float = 0.0,
        timed: bool = False,
    ) -> None:
        self.kind, self.case = kind, case
        self.joints = tuple(joints or case.joints)
        self.clock = VirtualClock()
        self.twin: ByteTwin | FrameTwin = kind.make_twin(case.settings, self.joints, positions, timed=timed)
        self.wire, self.sent = self._recorded()
        self.drive: Drive = self.another_drive(slack)
        self.timeout_ns = round(case.settings.timeout_ms * 1e6)

    def another_drive(self, slack: float = 0.0, joints: Sequence[Joint] | None = None) -> Drive:
        """On the same wire."""
        return self.kind.open_drive(
            self.case.settings, joints or self.joints, self.wire, clock=self.clock, start_slack_rad=slack
        )

    def _recorded(self) -> tuple[Any, list[Any]]:
        wire: Any = wire_to(self.twin, self.clock, self.clock.sleep)
        sent: list[Any] = []
        send = wire.send

        def recorded(data: Any, deadline_ns: int) -> None:
            sent.append(data)
            send(data, deadline_ns)

        wire.send = recorded
        return wire, sent

    def scan(self, ids: Iterable[int] | None = None) -> list[MotorIdentity]:
        """Who answers under ``ids``, all by default."""
        ids = self.kind.ids if ids is None else ids
        return list(self.kind.scan(self.case.settings, self.wire, ids, clock=self.clock))

    def set_id(self, old: int, new: int) -> None:
        """Raises what the kind does; skips for a kind without."""
        if self.kind.set_id is None:
            pytest.skip("the maker's own tool does it")
        self.kind.set_id(self.case.settings, self.wire, old, new, clock=self.clock)

    def soon(self) -> int:
        return self.clock() + self.timeout_ns

    def wait(self, seconds: float) -> None:
        self.clock.sleep(self.clock() + round(seconds * 1e9))

    def cycle(self, position: Floats | None = None, velocity: Floats | None = None) -> Feedback:
        """A period later, by the clock."""
        self.clock.sleep(self.clock() // PERIOD_NS * PERIOD_NS + PERIOD_NS)
        setpoints = None if position is None else Setpoints.hold(position)
        if setpoints is not None and velocity is not None:
            setpoints = replace(setpoints, velocity=velocity)
        return self.drive.cycle(setpoints, self.soon())

    def follow(self, goal: Floats, seconds: float = 1.0) -> Feedback:
        """Along a straight line with its velocity as feed-forward, then held until it is there, or 3 s."""
        start, begin = self.standing(), self.clock()
        while (passed := (self.clock() - begin) / 1e9) < seconds:
            self.cycle(start + (goal - start) * passed / seconds, (goal - start) / seconds)
        while self.clock() - begin < (seconds + 3) * 1e9:
            feedback = self.cycle(goal)
            if np.abs(feedback.position - goal).max() <= self.near:
                break
        return feedback

    @property
    def near(self) -> float:
        """rad"""
        return self.case.tolerance + self.case.settles_within

    def standing(self) -> Floats:
        return self.twin.positions(self.clock())

    def powered(self) -> tuple[bool, ...]:
        return self.twin.powered(self.clock())

    def memory(self) -> object:
        self.twin.advance(self.clock())
        return self.case.memory(self.twin)

    def until(
        self, condition: Callable[[Feedback], object], seconds: float, position: Any = None
    ) -> Feedback:
        """Cycles until a feedback meets it; fails when none does within ``seconds``."""
        end = self.clock() + round(seconds * 1e9) + PERIOD_NS
        while self.clock() < end:
            feedback = self.cycle(position)
            if condition(feedback):
                return feedback
        pytest.fail(f"not within {seconds} s: last was {feedback}")

    def stale(self, feedback: Feedback, since_ns: int) -> list[int]:
        """Joints without a reply since then; what the others report must be where they stand now."""
        fresh = feedback.received_ns >= since_ns
        np.testing.assert_allclose(
            feedback.position[fresh], self.standing()[fresh], atol=self.case.tolerance, rtol=0
        )
        return np.flatnonzero(~fresh).tolist()
