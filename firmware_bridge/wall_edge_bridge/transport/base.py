"""What a drive needs from a wire."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A byte stream to the motors. Deadlines are absolute, CLOCK_MONOTONIC ns (``time.monotonic_ns``)."""

    @property
    def description(self) -> str:
        """Port and speed, for error messages."""

    def send(self, data: bytes, deadline_ns: int) -> None:
        """Hand ``data`` to the wire. Raises BusTimeout when it did not take all, BusError when it is gone."""

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        """1 to ``at_most`` bytes as soon as any are there, empty at the deadline. Raises BusError.

        A deadline that has passed gives what is there already.
        """

    def close(self) -> None:
        """Release the port; may be called twice."""
