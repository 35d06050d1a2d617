"""Dynamixel motors of the X series as a drive: one sync write and one (fast) sync read a cycle."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.drives import Drive, Feedback, Setpoints
from wall_edge_bridge.kinds.dynamixel.bus import ATTEMPTS, DynamixelBus
from wall_edge_bridge.kinds.dynamixel.codec import SyncWriter
from wall_edge_bridge.kinds.dynamixel.memory import (
    SETTINGS,
    calibration_in,
    require_model,
    require_same_turn,
    require_settings,
)
from wall_edge_bridge.kinds.dynamixel.power import Power
from wall_edge_bridge.kinds.dynamixel.readings import Readings
from wall_edge_bridge.kinds.dynamixel.registers import (
    RADIANS_PER_TICK,
    TABLE,
    WATCHDOG_MAX,
    WATCHDOG_UNIT_S,
)
from wall_edge_bridge.kinds.dynamixel.replies import Answer, Block
from wall_edge_bridge.kinds.dynamixel.scan import what_answer
from wall_edge_bridge.kinds.dynamixel.settings import CAPABILITIES, DynamixelJoint, DynamixelSettings
from wall_edge_bridge.kinds.dynamixel.timing import (
    HEALTH,
    MOTION,
    POSITION,
    STATUS,
    WATCHDOG_BLOCK,
    Leisure,
    read_ns,
)
from wall_edge_bridge.transport import ByteTransport

_GOAL = TABLE["goal_position"]
_LATE_LOOKS = 5
"""Looks at the torque between cycles that came too late, after which a cycle waits for one."""
_LIVE = Block.of("realtime_tick", "present_temperature")


class DynamixelDrive(Drive):
    """X-series motors in position mode, or in extended position mode, on one half-duplex bus.

    A cycle reads positions; about every 30 ms velocity and current with them (``full_feedback``: always).
    Every 20 ms one sync read more, between two cycles, asks for torque and hardware errors: a
    joint that lost its torque is told within that time and two cycles. Every reply tells that there is a
    hardware error, and it is named in the same cycle. Every second one asks for voltage and temperature.
    What a motor reports as current is turned into Nm by its model's torque constant.

    The motors' profile registers (acceleration, velocity) are left as they are.
    """

    capabilities = CAPABILITIES
    slack_rad = RADIANS_PER_TICK / 2

    def __init__(
        self,
        settings: DynamixelSettings,
        joints: Sequence[DynamixelJoint],
        wire: ByteTransport,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(joints)
        self._motors = tuple(joints)
        self._settings = settings
        self._clock = clock
        self._timeout_ns = round(settings.timeout_ms * 1e6)
        self._bus = DynamixelBus(
            wire,
            [joint.id for joint in joints],
            self._timeout_ns,
            self.counters,
            clock,
            fast=settings.fast,
            line_ns=partial(read_ns, settings),
        )
        self._goals = SyncWriter(_GOAL.address, self._bus.ids)
        self._power = Power(self._bus, joints, self.limits, max(start_slack_rad, RADIANS_PER_TICK))
        self._leisure = Leisure(settings, self.dof)
        self._zero = np.array([joint.zero_ticks for joint in joints], np.float64)
        self._per_radian = np.array([joint.direction / RADIANS_PER_TICK for joint in joints])
        self._readings = Readings(joints)
        self._watchdog_units = 0
        self._late_looks = 0
        self._stores = {
            STATUS: self._take_status,
            WATCHDOG_BLOCK: self._readings.store_watchdog,
            HEALTH: self._readings.store_health,
        }

    # --- before power --------------------------------------------------------------------------------------

    def connect(self) -> None:
        settings = [self._bus.read_one(SETTINGS, joint.id) for joint in self._motors]
        live = [
            answer and self._bus.read_one(_LIVE, joint.id)
            for joint, answer in zip(self._motors, settings, strict=True)
        ]
        if silent := [joint for joint, answer in zip(self._motors, live, strict=True) if answer is None]:
            raise self._no_answer(silent, what_answer(self._bus, [joint.id for joint in silent]))
        for joint, answer in zip(self._motors, settings, strict=True):
            if answer is not None:
                self._require_identity(joint, answer)
        if self._settings.fast:
            self._require_fast()
        self._read_all(POSITION, self._readings.store)

    def _require_fast(self) -> None:
        answers: set[int] = set()
        for _ in range(ATTEMPTS):
            self._bus.ask(POSITION, self._clock() + self._timeout_ns)
            answers |= self._bus.collect(self._clock() + self._timeout_ns).keys()
        if silent := [joint for joint in self._motors if joint.id not in answers]:
            names = ", ".join(map(str, silent))
            raise DriveError(
                f"{names}: no answer to fast sync reads, though to others",
                expected="firmware that knows them in every motor, as ROBOT.yaml says fast: true",
                fix="update the firmware with the maker's tool, or say fast: false",
            )

    def _require_identity(self, joint: DynamixelJoint, answer: Answer) -> None:
        if (memory_id := answer.value("id")) != joint.id:
            raise DriveError(
                f"joint {joint.name}: the motor that answers as id {joint.id} has id {memory_id} "
                "in its memory",
                expected="one motor an id, and no shadow id",
                fix="give every motor its own id, one at a time on the bus",
            )
        require_model(joint, answer)
        self._readings.scale_effort(joint, answer.value("model"))

    def check(self) -> None:
        answers = self._read_all(SETTINGS)
        for joint, answer in zip(self._motors, answers, strict=True):
            require_settings(joint, answer, self._settings, self._bus.ids)
        for joint, answer in zip(self._motors, self._read_all(POSITION), strict=True):
            require_same_turn(joint, answer.value("present_position"))

    def memory(self) -> tuple[dict[str, Any], ...]:
        return tuple(calibration_in(answer) for answer in self._read_all(SETTINGS))

    # --- power ---------------------------------------------------------------------------------------------

    def arm_watchdog(self, timeout_s: float) -> float | None:
        """To the next 20 ms, as a shorter one might trip in a tick that waits for another bus.

        Motors arm theirs under torque only: ``enable`` does it, and reads it back.

        Raises DriveError for motors whose firmware may turn when it expires (DynamixelSDK issue 584).
        """
        units = math.ceil(timeout_s / WATCHDOG_UNIT_S - 1e-6) if math.isfinite(timeout_s) else 0
        if not 1 <= units <= WATCHDOG_MAX:
            raise DriveError(
                f"bus watchdog of {timeout_s:g} s",
                expected=f"{WATCHDOG_UNIT_S:g} to {WATCHDOG_MAX * WATCHDOG_UNIT_S:g} s",
            )
        for joint, answer in zip(self._motors, self._read_all(SETTINGS), strict=True):
            offset = answer.value("homing_offset")
            if joint.extended and offset and not self._settings.extended_watchdog:
                raise DriveError(
                    f"joint {joint} is in extended position mode with homing offset "
                    f"{offset}: old firmware turns without end when the bus watchdog expires "
                    "(DynamixelSDK issue 584)",
                    expected="homing offset 0, or firmware that is known to stop",
                    fix="put the offset into zero_ticks, or update it and say extended_watchdog: true",
                )
        self._watchdog_units = units
        if self._readings.enabled:
            self._power.arm(units)
        return units * WATCHDOG_UNIT_S

    def enable(self) -> None:
        self._readings.restart(enabled=False)
        self._power.enable(self._watchdog_units, self._radians_of)
        self._readings.restart(enabled=True)
        self._leisure.start(self._clock(), self._watchdog_units)

    def let_go_at_once(self) -> None:
        self._bus.write("torque_enable", [0] * self.dof)

    def disable(self) -> None:
        self._readings.restart(enabled=False)
        self._power.disable(bool(self._watchdog_units))

    def torque(self) -> tuple[bool | None, ...]:
        answers = self._bus.read(Block.of("torque_enable"))
        return tuple(answers[i].value("torque_enable") != 0 if i in answers else None for i in self._bus.ids)

    def ticks(self, position: npt.NDArray[np.float64]) -> tuple[int | None, ...]:
        ticks = (position * self._per_radian + self._zero).tolist()
        return tuple(None if tick != tick else round(tick) for tick in ticks)

    # --- the cycle -----------------------------------------------------------------------------------------

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        command = b""
        if setpoints is not None:
            goals = np.rint(self.allowed(setpoints.position) * self._per_radian + self._zero)
            if self._readings.enabled:
                command = self._goals.packet(goals.astype(np.int64).tolist())
        self.counters.cycles += 1
        now_ns = self._clock()
        self._leisure.note_request(now_ns)
        full = self._settings.full_feedback or self._leisure.motion_due(now_ns)
        self._bus.ask(MOTION if full else POSITION, deadline_ns, command)

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        answers = self._bus.collect(deadline_ns)
        if not answers:
            raise self._no_answer(self._motors)
        alert = self._readings.store(answers)
        self._look_further(deadline_ns, alert)
        return self._readings.snapshot()

    def look(self, deadline_ns: int) -> Feedback:
        """Feedback with all that the motors can say; commands nothing. Raises BusTimeout, BusError."""
        self.counters.cycles += 1
        answers: dict[int, Answer] = {}
        for block, store in (
            (MOTION, self._readings.store),
            (STATUS, self._readings.store_status),
            (WATCHDOG_BLOCK, self._readings.store_watchdog),
            (HEALTH, self._readings.store_health),
        ):
            self._bus.ask(block, deadline_ns)
            replies = self._bus.collect(deadline_ns)
            answers |= replies
            store(replies)
        if not answers:
            raise self._no_answer(self._motors)
        return self._readings.snapshot()

    def close(self) -> None:
        self._bus.wire.close()

    def _look_further(self, deadline_ns: int, alert: bool) -> None:
        """One more read: at once when a motor reports an error without its name, else between cycles."""
        missing, now_ns = self._bus.missing, self._clock()
        if alert:
            self._leisure.hurry(STATUS)
        block = self._leisure.next_block(now_ns, bool(missing))
        at_once = alert or self._late_looks >= _LATE_LOOKS
        if block == STATUS and at_once and now_ns < deadline_ns:
            self._bus.ask(STATUS, deadline_ns)
            self._take_status(self._bus.collect(deadline_ns))
            return
        if block is not None:
            self._bus.ask_in_background(block, self._leisure.within_ns(block), self._stores[block])

    def _take_status(self, answers: Mapping[int, Answer]) -> None:
        whole = len(answers) + len(self._bus.missing) >= self.dof
        self._late_looks = 0 if whole else self._late_looks + 1
        self._readings.store_status(answers)

    def _radians_of(self, ticks: Sequence[int]) -> npt.NDArray[np.float64]:
        radians: npt.NDArray[np.float64] = (np.array(ticks) - self._zero) / self._per_radian
        return radians

    def _read_all(
        self, block: Block, store: Callable[[Mapping[int, Answer]], object] | None = None
    ) -> list[Answer]:
        answers = self._power.read_all(block)
        if store:
            store(dict(zip(self._bus.ids, answers, strict=True)))
        return answers

    def _no_answer(self, silent: Sequence[DynamixelJoint], instead: str = "") -> BusTimeout:
        return self._power.no_answer(silent, instead)


open_drive = DynamixelDrive
