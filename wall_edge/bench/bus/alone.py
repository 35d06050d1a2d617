"""A drive and its twin in one process, where only what the drive is answerable for takes time.

Between two processes on a small computer a cycle waits for the scheduler, and for a twin that needs longer to
compute a motor than the motor would to answer. Here the clock goes on while the line is busy and while the
drive computes, and stands still in the wire and the twin; the drive's time is its thread's processor time, so
that other programs do not count either. What is left out is the kernel's: system calls, and waking up.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from wall_edge_bridge.drives import Drive, DriveSettings, Joint, Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds import Kind
from wall_edge_bridge.sim import ByteTwin, FrameTwin, VirtualClock, wire_to

from wall_edge.errors import BusError, BusTimeout

WATCHDOG_S = 0.5
"""Armed, as on a robot; so long that no measurement trips it."""
_SLACK_RAD = 0.1
_CYCLES = 300
_WARM_UP_CYCLES = 20
_BEFORE_LOSS = 5
_PATIENCE_CYCLES = 100
_TRIES, _CALLS = 20, 100
"""To find what the clock itself costs."""


class AloneFigures(NamedTuple):
    """Of one drive."""

    cycles_hz: float
    """With the drive's own processor time on this machine."""
    protocol_hz: float
    """With a drive that computes in no time: what its order of requests and replies makes of the line."""
    cpu_us: float
    """Processor time of the drive in one cycle."""


class LossFigures(NamedTuple):
    """What one lost reply costs."""

    extra_cycles: int
    """Cycles that were not whole; 1 is the one that lost it."""
    joints: int
    """Joints without a fresh reading in the worst of them."""
    ms: float
    """How much longer than the line allows the longest of them took: where nothing tells that a reply is
    lost, it is waited for until the drive's ``timeout_ms``."""


class DriveClock(VirtualClock):
    """[ns] Goes on with this thread's processor time unless it is stopped; ``sleep`` skips ahead.

    What it costs to ask it is measured at first, and does not count: a real clock costs next to nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._call_ns = self._stop_ns = 0
        self._stopped_ns = 0
        self._began_ns = time.thread_time_ns()
        self._stop_ns = self._cost(self._pause)
        self._call_ns = self._cost(self)

    def _cost(self, action: Callable[[], object]) -> int:
        """What of a call of ``action`` counts, the least of several tries; the call of anything aside."""
        costs = [self._counted(action) - self._counted(_nothing) for _ in range(_TRIES)]
        return max(0, min(costs) // _CALLS)

    def _counted(self, action: Callable[[], object]) -> int:
        start_ns = time.thread_time_ns() - self._began_ns
        for _ in range(_CALLS):
            action()
        return time.thread_time_ns() - self._began_ns - start_ns

    def __call__(self) -> int:
        if self._stopped_ns:
            return self.now_ns + self._stopped_ns - self._began_ns
        self._began_ns += self._call_ns
        return self.now_ns + time.thread_time_ns() - self._began_ns

    def sleep(self, until_ns: int) -> None:
        self.now_ns += max(0, until_ns - self())

    def stop(self) -> None:
        self._stopped_ns = time.thread_time_ns()

    def go_on(self) -> None:
        self._began_ns += time.thread_time_ns() - self._stopped_ns + self._stop_ns
        self._stopped_ns = 0

    def _pause(self) -> None:
        self.stop()
        self.go_on()

    @property
    def cpu_ns(self) -> int:
        """Processor time that counted so far."""
        return self() - self.now_ns


def _nothing() -> None:
    """What a call costs."""


class WireApart:
    """A wire of either sort in which the drive's clock stands still, but for what it sleeps."""

    def __init__(self, wire: Any, clock: DriveClock) -> None:
        self._wire, self._clock = wire, clock
        self.description = wire.description
        self.health = getattr(wire, "health", None)
        self.close = wire.close

    def send(self, *what: Any) -> None:
        self._clock.stop()
        try:
            self._wire.send(*what)
        finally:
            self._clock.go_on()

    def receive(self, *what: Any) -> Any:
        self._clock.stop()
        try:
            return self._wire.receive(*what)
        finally:
            self._clock.go_on()


@contextmanager
def no_collection() -> Iterator[None]:
    """No search for unreachable objects meanwhile: a servo process has switched it off."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure_alone(
    kind: Kind, settings: DriveSettings, joints: Sequence[Joint], rest: Floats, cycles: int = _CYCLES
) -> AloneFigures:
    """``cycles`` cycles that hold ``rest`` [dof] rad, twice. Raises BusError, DriveError."""
    protocol_hz = _rate(kind, settings, joints, rest, VirtualClock(), lambda wire: wire, cycles)
    clock = DriveClock()
    cpu: list[int] = []

    def apart(wire: Any) -> Any:
        return WireApart(wire, clock)

    def note() -> None:
        cpu.append(clock.cpu_ns)

    cycles_hz = _rate(kind, settings, joints, rest, clock, apart, cycles, note)
    return AloneFigures(cycles_hz, protocol_hz, (cpu[1] - cpu[0]) / cycles / 1e3)


def _rate(
    kind: Kind,
    settings: DriveSettings,
    joints: Sequence[Joint],
    rest: Floats,
    clock: VirtualClock,
    around: Callable[[Any], Any],
    cycles: int,
    note: Callable[[], object] = lambda: None,
) -> float:
    """Whole cycles a second by ``clock``; ``note`` is called at both ends."""
    drive, _ = _ready(kind, settings, joints, rest, clock, around)
    setpoints, timeout_ns = Setpoints.hold(rest), round(settings.timeout_ms * 1e6)
    for _ in range(_WARM_UP_CYCLES):
        drive.cycle(setpoints, clock() + timeout_ns)
    with no_collection():
        note()
        begin_ns, whole = clock(), 0
        for _ in range(cycles):
            start_ns = clock()
            whole += bool((drive.cycle(setpoints, start_ns + timeout_ns).received_ns >= start_ns).all())
        took_ns = clock() - begin_ns
        note()
    return whole * 1e9 / took_ns


def _ready(
    kind: Kind,
    settings: DriveSettings,
    joints: Sequence[Joint],
    rest: Floats,
    clock: VirtualClock,
    around: Callable[[Any], Any] = lambda wire: wire,
) -> tuple[Drive, ByteTwin | FrameTwin]:
    """Under torque, its line timed."""
    twin = kind.make_twin(settings, joints, rest, timed=True)
    wire = around(wire_to(twin, clock, clock.sleep))
    drive = kind.open_drive(settings, joints, wire, clock=clock, start_slack_rad=_SLACK_RAD)
    drive.connect()
    drive.arm_watchdog(WATCHDOG_S)
    drive.enable()
    return drive, twin


def cycles_after_loss(
    kind: Kind, settings: DriveSettings, joints: Sequence[Joint], rest: Floats
) -> LossFigures:
    """In virtual time, the worst of all replies of a cycle. Raises BusError when it does not recover."""
    each = [_after_loss(kind, settings, joints, rest, nth + 1) for nth in range(len(joints))]
    return LossFigures(
        max(loss.extra_cycles for loss in each),
        max(loss.joints for loss in each),
        max(loss.ms for loss in each),
    )


def _after_loss(
    kind: Kind, settings: DriveSettings, joints: Sequence[Joint], rest: Floats, nth: int
) -> LossFigures:
    clock = VirtualClock()
    drive, twin = _ready(kind, settings, joints, rest, clock)
    setpoints, timeout_ns = Setpoints.hold(rest), round(settings.timeout_ms * 1e6)
    for _ in range(_BEFORE_LOSS):
        drive.cycle(setpoints, clock() + timeout_ns)
    twin.replies.drop(nth)
    broken, most, whole, longest_ns = 0, 0, 0, 0
    while whole < len(joints):  # the lost one may be of a cycle to come
        start_ns = clock()
        try:
            received_ns = drive.cycle(setpoints, start_ns + timeout_ns).received_ns
            old = int((received_ns < start_ns).sum())
        except BusTimeout:
            old = len(joints)
        broken, most, whole = broken + (old > 0), max(most, old), 0 if old else whole + 1
        longest_ns = max(longest_ns, clock() - start_ns)
        if broken > _PATIENCE_CYCLES:
            raise BusError(f"{settings.kind} does not recover from a lost reply in {broken} cycles")
    line_ns = kind.cycle_ns(settings, joints)
    return LossFigures(broken, most, max(0, longest_ns - line_ns) / 1e6)
