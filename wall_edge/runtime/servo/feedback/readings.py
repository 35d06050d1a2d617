"""The newest believable reading of every joint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from wall_edge_bridge.drives import Fault, Feedback, Reaction

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.servo.feedback.plausible import Plausibility
from wall_edge.runtime.servo.feedback.trouble import lost_torque, motor_fault


class Readings:
    """A reading that no joint can have made is a lost one. A lost one is no fault: silence is, when it has
    lasted for ``control.feedback_timeout_ms``. Every joint is judged by itself, so that the one at fault is
    named. Times are CLOCK_MONOTONIC ns.
    """

    def __init__(self, config: RobotConfig, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._names = [joint.name for joint in config.joints]
        self._drive_of = [joint.drive for joint in config.joints]
        self._timeout_ns = round(config.control.feedback_timeout_ms * 1e6)
        velocity = np.array(config.per_joint(lambda joint: joint.max_velocity))
        period_ns = round(1e9 / config.control.rate_hz)
        self._plausible = Plausibility(config.control.impossible_velocity * velocity, period_ns)
        self._impossible: dict[int, str] = {}
        self._powered = False
        self.position: Floats = np.zeros(config.dof)
        """[dof] rad, last measured."""
        self.arrived_ns: npt.NDArray[np.int64] = np.zeros(config.dof, np.int64)
        """[dof] when each of ``position`` arrived; 0 for never."""
        self.implausible = 0
        """Cycles with readings refused because no joint moves like that."""
        self.limited = 0
        """Cycles in which a motor bounded itself: no fault."""
        self.on_limiter: Callable[[str, str], None] = lambda *_: None
        """Told of each joint and limiter when they are seen for the first time."""
        self._limiters: set[tuple[str, str]] = set()

    @property
    def oldest_ns(self) -> int:
        """When the oldest of ``position`` arrived; 0 for never."""
        return int(self.arrived_ns.min())

    @property
    def fresh(self) -> bool:
        """Whether no joint's reading is too old."""
        oldest = self.oldest_ns
        return oldest > 0 and self._clock() - oldest <= self._timeout_ns

    def power(self) -> None:
        """Torque went on: from now on readings must be explained by motion, and torque must stay."""
        self._powered = True
        self._plausible.restart(self.position, self.arrived_ns)

    def sent(self, setpoint: Floats) -> None:
        """Setpoints [dof] rad explain motion towards them."""
        self._plausible.sent(setpoint)

    def take(self, feedback: Feedback, setpoint: Floats, asked_ns: int) -> bool:
        """Whether every joint's reading was believed; ``setpoint`` [dof] rad is the one in force.

        ``asked_ns``: when the cycle began that asked for it.

        Raises DriveError for a motor's fault or lost torque. Of arms without power yet, only for a fault that
        is a person's: the others are for the drive's ``enable`` to clear, or to refuse.
        """
        if any(feedback.faults) and (self._powered or _for_a_person(feedback.faults)):
            raise motor_fault(self._names, feedback.faults)
        if self._powered and feedback.limp:
            raise lost_torque(feedback.limp)
        if any(feedback.limiters):
            self._note_limiters(feedback)
        received_ns = feedback.received_ns
        good = received_ns >= self.arrived_ns
        if self._powered:
            believed = self._plausible.believe(feedback.position, received_ns, setpoint, asked_ns)
            if self._impossible or not believed.all():
                self._note_impossible(feedback.position, believed, setpoint)
            good &= believed
        np.copyto(self.position, feedback.position, where=good)
        np.copyto(self.arrived_ns, received_ns, where=good)
        return bool(good.all())

    def require_fresh(self, failures: Mapping[str, Exception], late: int) -> None:
        """Raises RuntimeFault naming the joints whose word is too old, and what their buses met.

        ``failures`` by the drive's name, of the last cycle; ``late``: replies that came too late.
        """
        if self.fresh:
            return
        old = np.array((self.arrived_ns == 0) | (self._clock() - self.arrived_ns > self._timeout_ns))
        names = "joint feedback"
        if not old.all():
            names = f"feedback of joint {', '.join(self._names[i] for i in np.flatnonzero(old))}"
        oldest = self.oldest_ns
        age = f"{(self._clock() - oldest) / 1e6:.0f} ms old" if oldest else "missing"
        jumps = "; ".join(text for i, text in self._impossible.items() if old[i])
        silent = {self._drive_of[i] for i in np.flatnonzero(old)}
        troubles = [f"; {name}: {error}" for name, error in failures.items() if name in silent]
        troubles += [f"; {late} replies came too late to be believed"] if late else []
        why = f"; since then {jumps}, which no motion explains" if jumps else "".join(troubles)
        raise RuntimeFault(
            f"{names} is {age}{why}",
            expected=f"at most {self._timeout_ns / 1e6:g} ms (control.feedback_timeout_ms)",
            fix="check the bus cable and the motors' power",
        )

    def _note_limiters(self, feedback: Feedback) -> None:
        self.limited += 1
        for name, limiters in zip(self._names, feedback.limiters, strict=True):
            for limiter in limiters:
                if (name, limiter) not in self._limiters:
                    self._limiters.add((name, limiter))
                    self.on_limiter(name, limiter)

    def _note_impossible(self, position: Floats, believed: npt.NDArray[np.bool_], setpoint: Floats) -> None:
        self.implausible += not believed.all()
        for i in map(int, np.flatnonzero(~believed)):
            old_ms = (self._clock() - self.arrived_ns[i]) / 1e6
            jump = (
                f"{self._names[i]} said {position[i]:.3f} rad, {old_ms:.0f} ms after {self.position[i]:.3f} "
                f"rad, with its setpoint at {setpoint[i]:.3f} rad"
            )
            self._impossible.setdefault(i, jump)
        for i in [i for i in self._impossible if believed[i]]:
            del self._impossible[i]


def _for_a_person(faults: Iterable[Sequence[Fault]]) -> bool:
    return any(fault.reaction is Reaction.PERSON for joint in faults for fault in joint)
