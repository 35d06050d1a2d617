"""The drive contract: a group of joints on one bus, whatever the protocol behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from wall_edge.errors import ConfigError
from wall_edge_bridge.drives.joints import Joint
from wall_edge_bridge.drives.limits import JointLimits
from wall_edge_bridge.drives.values import BusCounters, Capabilities, Feedback, Floats, Setpoints

DriveType = TypeVar("DriveType", bound="Drive")


class Drive(ABC):
    """A group of joints on a bus. Every deadline is absolute, CLOCK_MONOTONIC ns (``time.monotonic_ns``).

    One cycle has two halves, so that several buses share a tick: :meth:`start_cycle` on all of them, then
    :meth:`finish_cycle` on each. As a context manager it connects on entry and closes on exit. Closing never
    changes the torque: whether an arm should go limp or hold is for the caller to say, with ``disable``.
    """

    capabilities = Capabilities()
    slack_rad = 1e-6
    """How far beyond a limit a setpoint counts as rounding."""
    enable_s = 0.02
    """About how long ``enable`` takes; nobody feeds the watchdogs of other buses meanwhile."""
    watchdog_note = ""
    """Why :meth:`arm_watchdog` answered None; else empty."""

    def __init__(self, joints: Sequence[Joint]) -> None:
        self.joints = tuple(joints)
        self.limits = JointLimits(joints)
        self._counters = BusCounters()
        for what, values in (("name", [j.name for j in joints]), ("id", [j.id for j in joints])):
            if len(set(values)) != len(values) or not values:
                raise ConfigError(
                    f"joints with {what}s {values}", expected=f"at least one, every {what} different"
                )

    @property
    def dof(self) -> int:
        return len(self.joints)

    def allowed(self, position: npt.ArrayLike) -> Floats:
        """``position`` [dof] rad as it may be sent. Raises DriveError for one beyond a joint's limits."""
        return self.limits.require_setpoint(position, self.slack_rad)

    @property
    def counters(self) -> BusCounters:
        """What happened on the bus so far."""
        return self._counters

    @abstractmethod
    def connect(self) -> None:
        """Check that every motor answers, is of this kind, and alone under its id.

        Writes nothing: torque, registers and watchdogs stay as they are. Raises BusTimeout naming those that
        do not answer (and what was found instead, where that can be told), DriveError, BusError.
        """

    def check(self) -> None:  # noqa: B027 - a motor without settings of its own has nothing to compare
        """Compare the motors' own settings with the joints. Changes nothing. Raises DriveError, BusError."""

    def memory(self) -> tuple[dict[str, Any], ...]:
        """[dof] the keys by which ROBOT.yaml says what each motor's own memory must hold, as it is now.

        Empty for motors with nothing to compare. Changes nothing. Raises DriveError, BusError.
        """
        return ({},) * self.dof

    @abstractmethod
    def arm_watchdog(self, timeout_s: float) -> float | None:
        """Make the motors stop by themselves after about ``timeout_s`` without commands.

        What they have now, read back [s]: the least of them; None when they have no watchdog. Called before
        :meth:`enable`, where some motors arm theirs at last. Raises DriveError when one reads back otherwise,
        or when ``timeout_s`` is beyond what it can count; BusError.
        """

    @abstractmethod
    def enable(self) -> None:
        """Torque on, holding where the joints are; what faults ask for is done first (``recovery``).

        When one joint refuses, all are left as they were found. Raises DriveError, BusError.
        """

    def let_go_at_once(self) -> None:  # noqa: B027 - a kind without waits for nothing in ``disable``
        """Torque off, said once, and no answer awaited: what one of several buses does before ``disable``.

        Raises BusError.
        """

    @abstractmethod
    def disable(self) -> None:
        """Torque off: the arm goes limp. Read back where the motors can say. Raises DriveError, BusError."""

    def torque(self) -> tuple[bool | None, ...]:
        """[dof] whether each joint is powered now; None where that is not known. Raises BusError."""
        return (None,) * self.dof

    def ticks(self, position: npt.NDArray[np.float64]) -> tuple[int | None, ...]:
        """[dof] what encoders read at ``position`` [dof] rad; None for NaN and for motors without."""
        return (None,) * len(position)

    @abstractmethod
    def start_cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> None:
        """Send setpoints and ask for feedback, or with None ask for feedback alone; wait for no reply.

        Before ``enable`` setpoints move nothing. Raises DriveError, and sends nothing, when a setpoint is not
        allowed; BusTimeout when the wire took no more until the deadline, BusError when it is gone.
        """

    @abstractmethod
    def finish_cycle(self, deadline_ns: int) -> Feedback:
        """What has arrived by the deadline, returned as soon as all is there.

        Raises BusTimeout when no joint answered, BusError when the wire is gone. A reply that is lost,
        damaged, late, doubled or another's costs this cycle at most; the other joints are fresh.
        """

    def cycle(self, setpoints: Setpoints | None, deadline_ns: int) -> Feedback:
        """Both halves."""
        self.start_cycle(setpoints, deadline_ns)
        return self.finish_cycle(deadline_ns)

    def look(self, deadline_ns: int) -> Feedback:
        """Feedback with all that the motors can say (temperature, voltage), at leisure; commands nothing."""
        return self.cycle(None, deadline_ns)

    @abstractmethod
    def close(self) -> None:
        """Release the bus, torque unchanged; may be called twice."""

    def __enter__(self: DriveType) -> DriveType:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
