"""Feetech STS servos (SO-100, SO-101 and kin) as a drive: one sync write and one sync read a cycle."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from wall_edge.errors import BusError, BusTimeout, DriveError, WallEdgeError
from wall_edge_bridge.drives.base import Drive, Feedback, JointSpec
from wall_edge_bridge.kinds.feetech.bus import ATTEMPTS, Answer, Block, FeetechBus
from wall_edge_bridge.kinds.feetech.memory import SETTINGS, require_settings
from wall_edge_bridge.kinds.feetech.registers import RADIANS_PER_TICK, STS3215
from wall_edge_bridge.kinds.feetech.scale import JointScale
from wall_edge_bridge.transport import Transport

TORQUE_PERIOD_NS = 20_000_000
"""How often a cycle reads the torque too."""

_SLACK_RAD = RADIANS_PER_TICK / 2
_TORQUE = STS3215["torque_enable"]
_GOAL = STS3215["goal_position"]
_PRESENT = STS3215["present_position"]
_ID = STS3215["id"]
_POSITION = Block.of(_PRESENT)
_TORQUE_AND_POSITION = Block.of(_TORQUE, _PRESENT)


class FeetechDrive(Drive):
    """STS3215 servos in position mode on one half-duplex bus.

    ``timeout_s`` bounds one exchange, whatever the caller's deadline, so that a lost packet costs a cycle and
    not fifty. Keep it and the deadlines above the bus time plus the adapter's latency. Six servos at 1 Mbaud:
    a cycle is 88 bytes (0.9 ms); every 20 ms of an arm under torque one is 184 (1.8 ms), as its read begins
    at torque_enable. A joint that lost its torque is told within that time and a cycle.

    ``start_slack_rad``: how far beyond its limits a resting joint may have sagged and still be enabled.

    The servos' own profile registers (acceleration, goal time, goal speed) are left as they are.
    Raises ConfigError for joints that these servos cannot be.
    """

    def __init__(
        self,
        transport: Transport,
        joints: Sequence[JointSpec],
        timeout_s: float = 0.01,
        clock: Callable[[], int] = time.monotonic_ns,
        *,
        start_slack_rad: float = 0.0,
    ) -> None:
        super().__init__(joints)
        self._start_slack = max(start_slack_rad, _SLACK_RAD)  # an encoder rounds
        self._scale = JointScale(self.joints)
        self._clock = clock
        self._bus = FeetechBus(transport, [joint.id for joint in joints], timeout_s, self.counters, clock)
        self._ticks = np.full(self.dof, np.nan)
        self._received_ns = np.zeros(self.dof, np.int64)
        self._errors: list[tuple[str, ...]] = [()] * self.dof
        self._enabled = False
        self._initial_torque = [0] * self.dof  # torque before enable, as check saw it
        self._limp: set[int] = set()
        self._torque_due_ns = 0

    def connect(self) -> None:
        """Ask every servo for its id and where it stands; torque stays as it is.

        Raises BusTimeout naming the silent ones, DriveError for one that answers for another, BusError.
        """
        answers = {joint: self._bus.read_one(Block.of(_ID), joint.id) for joint in self.joints}
        if silent := [joint for joint, answer in answers.items() if answer is None]:
            raise self._no_answer(silent)
        for joint, answer in answers.items():
            if answer is not None and (memory_id := answer.value(_ID)) != joint.id:
                raise DriveError(
                    f"joint {joint.name}: the servo that answers as id {joint.id} "
                    f"has id {memory_id} in its memory",
                    expected="one servo an id",
                    fix="give every servo its own id, one at a time on the bus",
                )
        self._read_positions()

    def check(self) -> None:
        """Compare limits, offset, mode and torque limits in the servos' memory with the joints.

        Changes nothing. Raises DriveError naming joint, register and both values; BusError.
        """
        answers = self._read_all(SETTINGS)
        self._initial_torque = [int(answer.value(_TORQUE) == 1) for answer in answers]
        for joint, answer in zip(self.joints, answers, strict=True):
            require_settings(joint, answer)

    def enable(self) -> None:
        """Make the present position the goal, then torque on, then read back that it is; else as it was.

        Raises DriveError for a joint with a fault, one beyond its limits, or one that stayed off; BusError.
        """
        here = self._read_positions()
        self._refuse_to_enable(here)
        self._bus.write(_GOAL, here)
        try:
            self._bus.write(_TORQUE, [1] * self.dof)
            self._require_torque()
        except WallEdgeError:
            self._restore_torque()
            raise
        self._enabled, self._limp, self._torque_due_ns = True, set(), self._clock()

    def _require_torque(self) -> None:
        for joint, torque in zip(self.joints, self._read_all(Block.of(_TORQUE)), strict=True):
            if torque.value(_TORQUE) != 1:
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) still has its torque off",
                    expected="torque_enable 1 after enable",
                    fix="check the servo's supply and temperature, then enable again",
                )

    def _restore_torque(self) -> None:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(BusError):
                self._bus.write(_TORQUE, self._initial_torque)

    def disable(self) -> None:
        """Torque off on every servo, sent several times and then read back.

        Raises DriveError for a joint that keeps its torque, BusTimeout for a silent one, BusError.
        """
        self._enabled, self._limp = False, set()
        for _ in range(ATTEMPTS):
            self._bus.write(_TORQUE, [0] * self.dof)
        for joint, torque in zip(self.joints, self._read_all(Block.of(_TORQUE)), strict=True):
            if torque.value(_TORQUE) != 0:
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) still has its torque on",
                    expected="torque_enable 0 after disable",
                    fix="cut the arm's power",
                )

    def torque(self) -> tuple[bool | None, ...]:
        """[dof] whether torque_enable is other than 0; None for a silent servo. Raises BusError."""
        answers = self._bus.read_patiently(Block.of(_TORQUE))
        return tuple(answers[i].value(_TORQUE) != 0 if i in answers else None for i in self._bus.ids)

    def ticks(self, position: npt.NDArray[np.float64]) -> tuple[int | None, ...]:
        return self._scale.ticks(position)

    def write(self, setpoints: npt.ArrayLike, deadline_ns: int) -> None:
        """One sync write of goal_position: setpoints [dof] rad.

        Up to half a tick beyond a limit counts as rounding and is sent as the limit. Everything else raises
        DriveError naming joint, value and limit, and nothing is sent. BusTimeout when the port took no bytes
        until the deadline, BusError when it is gone.
        """
        try:
            positions = np.asarray(setpoints, np.float64)
        except (TypeError, ValueError) as error:
            raise DriveError(f"setpoints {setpoints!r}", expected=f"{self.dof} numbers [rad]") from error
        if positions.shape != (self.dof,):
            raise DriveError(f"setpoints of shape {positions.shape}", expected=f"({self.dof},), one a joint")
        self._scale.require_inside(positions, _SLACK_RAD, "setpoint", "mend what sends it; nothing was sent")
        ticks = self._scale.nearest_ticks(positions)
        self._bus.write(_GOAL, ticks, deadline_ns)

    def read(self, deadline_ns: int) -> Feedback:
        """One sync read of present_position; every 20 ms of an arm under torque, of torque_enable too.

        Returns as soon as all have answered, else at the deadline or after ``timeout_s`` with those that did.
        Raises BusTimeout when no joint did, or when the deadline has passed already (nothing is asked then);
        BusError when the port is gone.
        """
        self.counters.cycles += 1
        answers = self._bus.read(self._due_block(), deadline_ns)
        if not answers:
            raise self._no_answer(self.joints)
        self._store(answers)
        return Feedback(
            position=self._scale.radians(self._ticks),
            time_ns=int(self._received_ns.max()),
            received_ns=self._received_ns.copy(),
            errors=tuple(self._errors),
            limp=tuple(joint.name for joint in self.joints if joint.id in self._limp),
        )

    def arm_watchdog(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Always False: the STS3215 has no such register and holds its last goal when the host dies.

        The servo loop's heartbeat guard has to stand in for it.
        """
        return False

    def close(self) -> None:
        """Release the port, torque unchanged; may be called twice."""
        self._bus.transport.close()

    def _due_block(self) -> Block:
        now_ns = self._clock()
        if not self._enabled or now_ns < self._torque_due_ns:
            return _POSITION
        self._torque_due_ns = now_ns + TORQUE_PERIOD_NS
        return _TORQUE_AND_POSITION

    def _store(self, answers: Mapping[int, Answer]) -> None:
        for index, joint in enumerate(self.joints):
            answer = answers.get(joint.id)
            if answer:
                self._ticks[index] = answer.value(_PRESENT)
                self._received_ns[index] = answer.received_ns
                self._errors[index] = answer.errors
                if answer.block == _TORQUE_AND_POSITION and answer.value(_TORQUE) != 1:
                    self._limp.add(joint.id)

    def _read_all(self, block: Block) -> list[Answer]:
        """Registers of every joint, in their order; raises BusTimeout when one stays silent."""
        answers = self._bus.read_patiently(block)
        silent = [joint for joint in self.joints if joint.id not in answers]
        if silent:
            raise self._no_answer(silent)
        return [answers[joint.id] for joint in self.joints]

    def _read_positions(self) -> list[int]:
        answers = self._read_all(_POSITION)
        self._store(dict(zip(self._bus.ids, answers, strict=True)))
        return [answer.value(_PRESENT) for answer in answers]

    def _refuse_to_enable(self, ticks: Sequence[int]) -> None:
        for joint, errors in zip(self.joints, self._errors, strict=True):
            if errors:
                raise DriveError(
                    f"joint {joint.name} (id {joint.id}) reports {', '.join(errors)}",
                    expected="no fault before enable",
                    fix="remove the cause, then disable or power-cycle the arm to clear it",
                )
        self._scale.require_inside(
            self._scale.radians(np.array(ticks)),
            self._start_slack,
            "position",
            "move it inside by hand, or calibrate again",
        )

    def _no_answer(self, silent: Sequence[JointSpec]) -> BusTimeout:
        names = ", ".join(f"{joint.name} (id {joint.id})" for joint in silent)
        return BusTimeout(
            f"no answer from {names} on {self._bus.transport.description}",
            fix="check the servo's power, cable and id, and that it uses this baud rate",
        )
