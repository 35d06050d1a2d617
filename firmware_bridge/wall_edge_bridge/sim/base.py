"""What every twin offers: the motors' side of a bus, whatever the protocol.

Time is passed in (CLOCK_MONOTONIC ns, or virtual) and never read: what happens follows from what was sent,
and when. Joints are named by their index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.drives import Joint
from wall_edge_bridge.sim.replies import ReplyQueue
from wall_edge_bridge.transport import Frame

Item = TypeVar("Item", bytes, Frame)


class Twin(ABC, Generic[Item]):
    """Simulated motors behind one wire. ``replies`` has their line's timing, and what is lost on it.

    A twin is strict: what a real motor would not take, it does not take either.
    """

    def __init__(self, joints: Sequence[Joint]) -> None:
        self.joints = tuple(joints)
        self.replies: ReplyQueue[Item] = ReplyQueue()

    @property
    def due_ns(self) -> int | None:
        """When the next reply has arrived, or something is to be said unasked; None when nothing waits."""
        return self.replies.due_ns

    @abstractmethod
    def advance(self, now_ns: int) -> None:
        """Move the motors to this moment; a moment already passed changes nothing."""

    @abstractmethod
    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        """[dof] rad, where the joints are at this moment, finer than what the motors report."""

    @abstractmethod
    def set_positions(self, positions: npt.ArrayLike) -> None:
        """Put the joints at ``positions`` [dof] rad, as by hand: goals stay, torque would pull them back."""

    @abstractmethod
    def powered(self, now_ns: int) -> tuple[bool, ...]:
        """[dof] whether each joint has torque at this moment; a watchdog may have taken it."""

    # --- what goes wrong -----------------------------------------------------------------------------------

    @abstractmethod
    def silence(self, index: int, silent: bool = True) -> None:
        """Cut a motor off the bus: it hears nothing and answers nothing, until ``silent=False``."""

    @abstractmethod
    def lose_torque(self, index: int) -> None:
        """Switch a motor's torque off, as a protection of its own or another program does."""

    @abstractmethod
    def reboot(self, index: int, now_ns: int) -> None:
        """As after a dip of its supply: silent for a moment, then as after power-on."""

    @abstractmethod
    def shift_zero(self, index: int, radians: float) -> None:
        """A lost offset: the joint reports this much more than it should, and its goals mean as much less."""

    @abstractmethod
    def set_fault(self, index: int, name: str) -> None:
        """Latch a fault of the kind, by the name that the drive gives it. KeyError for an unknown one."""


class ByteTwin(Twin[bytes]):
    """Motors on a serial bus."""

    @abstractmethod
    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:
        """Bytes from the host, in pieces of any size, at ``baud`` [bit/s] → the replies that arrive by now.

        Only motors that listen at ``baud`` hear them; None is the speed of each.
        """

    def collect(self, now_ns: int) -> bytes:
        """Replies that have arrived by now and were not collected yet."""
        self.advance(now_ns)
        return b"".join(self.replies.collect(now_ns))


class FrameTwin(Twin[Frame]):
    """Motors on a CAN bus."""

    @abstractmethod
    def handle(self, frame: Frame, now_ns: int) -> list[Frame]:
        """One frame from the host → the frames that arrive by now."""

    def collect(self, now_ns: int) -> list[Frame]:
        """Frames that have arrived by now and were not collected yet."""
        self.advance(now_ns)
        return self.replies.collect(now_ns)
