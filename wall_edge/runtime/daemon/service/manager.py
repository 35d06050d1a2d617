"""What the daemon tells a service manager, by the protocol of sd_notify(3).

Words in a datagram, sent to the socket that ``$NOTIFY_SOCKET`` names (with ``@`` for an abstract one). What
they mean: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html, and
sd_watchdog_enabled.html there.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from wall_edge.errors import printable, shortened

_LONGEST_STATUS, _UINT64_DIGITS = 200, 20
_STATUS_S, _STARTING_S = 5.0, 1.0
_EXTENSION_S = 60.0
"""A start that came on a moment ago may go on for so long."""
_FEEDS = 4
"""In a watchdog's time: two of them may be late or lost."""


class ServiceManager:
    """Without an ``address`` nothing is told. Nothing here waits, and nothing raises.

    ``watchdog_s``: how long the manager waits for the next sign of life; None when it waits for none.
    """

    def __init__(
        self,
        address: bytes | None = None,
        watchdog_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._watchdog_s, self._clock = address, watchdog_s, clock
        self._ready_is_due = False
        self._tick = -1
        self._feed_s = self._starting_s = self._status_s = float("-inf")
        self._status = ""

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """The one that started this process, if any.

        Its words are taken out of ``environment``: a process that we start must not speak for us.
        """
        address, usec, pid = (
            environment.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        )
        if not address.startswith(("/", "@")):
            return cls()
        number = usec.isascii() and usec.isdecimal() and len(usec) <= _UINT64_DIGITS and int(usec) > 0
        watched = number and pid in ("", str(os.getpid()))
        place = os.fsencode(address)
        return cls(b"\0" + place[1:] if address[0] == "@" else place, int(usec) / 1e6 if watched else None)

    def starting(self, what: str) -> None:
        """A start that takes its time comes on: it is given more. Each step of it has a limit of its own."""
        if self._clock() - self._starting_s >= _STARTING_S and self._send(
            f"EXTEND_TIMEOUT_USEC={_EXTENSION_S * 1e6:.0f}", _status(what)
        ):
            self._starting_s = self._clock()

    def ready(self) -> None:
        """The arm holds."""
        self._ready_is_due = not self._send("READY=1")

    def alive(self, tick: int) -> None:
        """The supervisor's main loop has come round; ``tick``: the last that the servo process published.

        The manager is told only when that one is another than last time: both of them live, or neither
        counts.
        """
        if self._ready_is_due:  # the manager's queue was full
            self.ready()
        now = self._clock()
        if self._watchdog_s is None or self._ready_is_due or tick <= self._tick or now < self._feed_s:
            return
        if self._send("WATCHDOG=1"):
            self._tick, self._feed_s = tick, now + self._watchdog_s / _FEEDS

    def status(self, text: str) -> None:
        """What is going on, in one line; told when it has changed, and every few seconds at most."""
        now = self._clock()
        if text != self._status and now - self._status_s >= _STATUS_S and self._send(_status(text)):
            self._status, self._status_s = text, now

    def stopping(self, seconds: float) -> None:
        """The arm is brought to rest, which takes ``seconds`` at most. No sign of life comes any more."""
        self._watchdog_s, self._ready_is_due = None, False
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}", _status("stopping"))

    def ended(self, how: str) -> None:
        """The last word, which stays readable behind our end."""
        self._send(_status(how))

    def _send(self, *words: str) -> bool:
        """Whether it is on its way, or nobody listens."""
        if self._address is None:
            return True
        message = "\n".join(words).encode(errors="replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    # A line break in a subgoal would be another word to the manager.
    return f"STATUS={printable(shortened(text, _LONGEST_STATUS))}"
