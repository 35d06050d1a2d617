"""Feetech STS servos (SO-100, SO-101 and kin) as a drive: one sync write and one sync read a cycle."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.errors import BusError, BusTimeout, DriveError, WallEdgeError
from wall_edge_bridge.drives import Drive, Fault, Feedback, Setpoints
from wall_edge_bridge.drives.recovery import FaultRecovery
from wall_edge_bridge.kinds.feetech.bus import ATTEMPTS, Answer, Block, Exchange, FeetechBus
from wall_edge_bridge.kinds.feetech.codec import SyncWriter, build_write
from wall_edge_bridge.kinds.feetech.faults import CAUSES, remaining_cause
from wall_edge_bridge.kinds.feetech.memory import (
    SETTINGS,
    calibration_in,
    require_settings,
    require_unwrapped,
)
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK, STS3215
from wall_edge_bridge.kinds.feetech.scale import (
    LOOK,
    POSITION,
    TORQUE_AND_POSITION,
    JointScale,
    ServoReadings,
)
from wall_edge_bridge.kinds.feetech.scan import explain_silence, require_alone
from wall_edge_bridge.kinds.feetech.settings import CAPABILITIES, FeetechJoint, FeetechSettings
from wall_edge_bridge.transport import ByteTransport

TORQUE_PERIOD_NS = 20_000_000
"""How often a cycle reads the torque too."""

_TORQUE = STS3215["torque_enable"]
_GOAL = STS3215["goal_position"]
_PRESENT = STS3215["present_position"]


class FeetechDrive(Drive):
    """STS3215 servos in position mode on one half-duplex bus.

    Keep deadlines above the bus time plus the adapter's latency. Six servos at 1 Mbaud: a cycle is 88 bytes
    (0.9 ms); every 20 ms of an arm under torque one is 184 (1.8 ms), as its read begins at torque_enable. A
    joint that lost its torque is told within that time and a cycle.

    ``start_slack_rad``: how far beyond its limits a resting joint may have sagged and still be enabled.

    The servos' own profile registers (acceleration, goal time, goal speed) are left as they are.
    Raises ConfigError for joints that these servos cannot be.
    """

    capabilities = CAPABILITIES
    slack_rad = RADIANS_PER_TICK / 2

    def __init__(
        self,
        settings: FeetechSettings,
        joints: Sequence[FeetechJoint],
        wire: ByteTransport,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(joints)
        self._servos = tuple(joints)
        self._start_slack = max(start_slack_rad, self.slack_rad)  # an encoder rounds
        self._scale = JointScale(joints)
        self._readings = ServoReadings(joints)
        self._bus = FeetechBus(settings, wire, [joint.id for joint in joints], self.counters, clock)
        self._clock = clock
        self._goals = SyncWriter(_GOAL.address, _GOAL.length, self._bus.ids)
        self._exchange: Exchange | None = None
        self._recovery = FaultRecovery(joints)
        self._enabled = False
        self._torque_due_ns = 0

    def connect(self) -> None:
        """Ask every servo who it is and where it stands; torque stays as it is.

        Raises BusTimeout naming the silent ones; DriveError for two servos with one id, where what they say
        at once can be told from what one says, and for a servo that answers for another; BusError.
        """
        silent = [joint for joint in self._servos if not self._is_there(joint)]
        if silent:
            raise self._no_answer(silent, explain_silence(self._bus) if len(silent) == self.dof else "")
        self._read_all(POSITION)

    def _is_there(self, joint: FeetechJoint) -> bool:
        try:
            return require_alone(self._bus, self.counters, joint.id) is not None
        except DriveError as error:
            raise DriveError(f"joint {joint.name}: {error}") from None

    def check(self) -> None:
        """Compare limits, offset, range, mode and torque limits in the servos' memory with the joints.

        Changes nothing. Raises DriveError naming joint, register and both values; BusError.
        """
        for joint, answer in zip(self._servos, self._read_all(SETTINGS), strict=True):
            require_settings(joint, answer)
        for joint, answer in zip(self._servos, self._read_all(POSITION), strict=True):
            require_unwrapped(joint, answer.value(_PRESENT))

    def memory(self) -> tuple[dict[str, Any], ...]:
        return tuple(calibration_in(answer) for answer in self._read_all(SETTINGS))

    def arm_watchdog(self, timeout_s: float) -> float | None:  # noqa: ARG002
        """Always None: the STS3215 has no such register and holds its last goal when the host dies.

        The servo loop's heartbeat guard has to stand in for it.
        """
        self.watchdog_note = "an STS servo has none"
        return None

    def enable(self) -> None:
        """Make the present position the goal, then torque on, then read back that it is; else as it was.

        A servo that was cleared of a fault stays without torque when another one refuses.

        Raises DriveError for a joint with a fault that stays, one beyond its limits, or one that stayed off;
        BusError.
        """
        self._read_all(POSITION)
        self._require_inside()
        self._recovery.prepare(self._readings.faults, self._remaining_cause, self._clear)
        answers = self._read_all(TORQUE_AND_POSITION)
        self._require_inside()
        self._hold([answer.value(_PRESENT) for answer in answers])
        before = [int(answer.value(_TORQUE) == 1) for answer in answers]
        try:
            self._bus.write(_TORQUE, [1] * self.dof)
            self._require_torque(1, "check the servo's supply and temperature, then enable again")
        except WallEdgeError:
            for _ in range(ATTEMPTS):
                with contextlib.suppress(BusError):
                    self._bus.write(_TORQUE, before)
            raise
        self._readings.limp.clear()
        self._enabled, self._torque_due_ns = True, self._clock()

    def let_go_at_once(self) -> None:
        self._bus.write(_TORQUE, [0] * self.dof)

    def disable(self) -> None:
        """Torque off on every servo, sent several times and then read back.

        Raises DriveError for a joint that keeps its torque, BusTimeout for a silent one, BusError.
        """
        self._enabled = False
        self._readings.limp.clear()
        for _ in range(ATTEMPTS):
            self._bus.write(_TORQUE, [0] * self.dof)
        self._require_torque(0, "cut the arm's power")

    def torque(self) -> tuple[bool | None, ...]:
        """[dof] whether torque_enable is other than 0; None for a silent servo. Raises BusError."""
        answers = self._bus.read_patiently(Block.of(_TORQUE))
        return tuple(answers[i].value(_TORQUE) != 0 if i in answers else None for i in self._bus.ids)

    def ticks(self, position: npt.NDArray[np.float64]) -> tuple[int | None, ...]:
        return self._scale.ticks(position)

    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        """One sync write of goal_position, then one sync read of present_position.

        Up to half a tick beyond a limit counts as rounding and is sent as the limit. Every 20 ms of an arm
        under torque, torque_enable is read too. After the deadline nothing is asked.
        """
        ahead = b""
        if setpoints is not None:
            ahead = self._goals.packet(self._scale.nearest_ticks(self.allowed(setpoints.position)))
        self._start(self._due_block(), deadline_ns, ahead)

    def finish_cycle(self, deadline_ns: int) -> Feedback:
        exchange, self._exchange = self._exchange, None
        answers = {} if exchange is None else self._bus.finish(exchange, deadline_ns)
        if not answers:
            raise self._no_answer(self._servos)
        self._readings.store(answers, self._enabled)
        return self._readings.snapshot()

    def look(self, deadline_ns: int) -> Feedback:
        """One sync read of torque, position, speed, load, voltage and temperature."""
        self._start(LOOK, deadline_ns)
        return self.finish_cycle(deadline_ns)

    def close(self) -> None:
        """Release the port, torque unchanged; may be called twice."""
        self._bus.transport.close()

    def _start(self, block: Block, deadline_ns: int, ahead: bytes = b"") -> None:
        self._exchange = None
        self.counters.cycles += 1
        self._exchange = self._bus.start(block, self._bus.ids, deadline_ns, ahead)

    def _due_block(self) -> Block:
        now_ns = self._clock()
        if not self._enabled or now_ns < self._torque_due_ns:
            return POSITION
        self._torque_due_ns = now_ns + TORQUE_PERIOD_NS
        return TORQUE_AND_POSITION

    def _read_all(self, block: Block) -> list[Answer]:
        """Registers of every joint, in their order; raises BusTimeout when one stays silent."""
        answers = self._bus.read_patiently(block)
        self._require_everyone(answers)
        if block in (POSITION, TORQUE_AND_POSITION):
            self._readings.store(answers, enabled=False)
        return [answers[joint.id] for joint in self._servos]

    def _require_everyone(self, answers: Mapping[int, Answer]) -> None:
        if silent := [joint for joint in self._servos if joint.id not in answers]:
            raise self._no_answer(silent)

    def _require_torque(self, expected: int, fix: str) -> None:
        for joint, answer in zip(self._servos, self._read_all(Block.of(_TORQUE)), strict=True):
            if answer.value(_TORQUE) != expected:
                raise DriveError(
                    f"joint {joint} still has its torque {'off' if expected else 'on'}",
                    expected=f"torque_enable {expected}",
                    fix=fix,
                )

    def _hold(self, ticks: Sequence[int]) -> None:
        """A sync write is not acknowledged: under torque, a goal that was lost makes a servo jump."""
        clipped = self._start_slack / RADIANS_PER_TICK + 1  # a servo may keep goals within its own limits
        for _ in range(ATTEMPTS):
            self._bus.write(_GOAL, ticks)
            goals = [answer.value(_GOAL) for answer in self._read_all(Block.of(_GOAL))]
            astray = [
                i
                for i, (goal, tick) in enumerate(zip(goals, ticks, strict=True))
                if abs(goal - tick) > clipped
            ]
            if not astray:
                return
        raise DriveError(
            f"joint {self._servos[astray[0]]}: goal_position reads back as {goals[astray[0]]}",
            expected=f"{ticks[astray[0]]}, its present position, before torque",
            fix="check the cable and the servo's supply",
        )

    def _require_inside(self) -> None:
        self.limits.require_inside(
            self._readings.position,
            self._start_slack,
            "position",
            "move it inside by hand, or calibrate again",
        )

    def _remaining_cause(self, index: int, fault: Fault) -> str:
        joint = self._servos[index]
        answer, _ = self._bus.read_one(CAUSES, joint.id)
        return "its cause cannot be read" if answer is None else remaining_cause(fault, answer)

    def _clear(self, indices: Sequence[int]) -> None:
        """A servo forgets a fault whose cause is gone when its torque is switched off."""
        for index in indices:
            self._bus.send(build_write(self._servos[index].id, _TORQUE.address, b"\0"))
            self._bus.listen()
        self._read_all(POSITION)
        for index in indices:
            if faults := self._readings.faults[index]:
                raise DriveError(
                    f"joint {self._servos[index].name} reports {faults[0].name} still",
                    expected="no fault before torque goes on",
                    fix="power-cycle the arm",
                )

    def _no_answer(self, silent: Sequence[FeetechJoint], instead: str = "") -> BusTimeout:
        names = ", ".join(map(str, silent))
        return BusTimeout(
            f"no answer from {names} on {self._bus.transport.description}{instead}",
            fix="check the servo's power, cable and id, and that it uses this baud rate",
        )


open_drive = FeetechDrive
