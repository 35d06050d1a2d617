"""A drive and its twin in one process, where only what the drive is answerable for takes time.

Between two processes on a small computer a cycle waits for the scheduler, and for a twin that needs longer to
compute a motor than the motor would to answer. Here the clock goes on while the line is busy and while the
drive computes, and stands still in the wire and the twin; the drive's time is its thread's processor time, so
that other programs do not count either. What is left out is the kernel's: system calls, and waking up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wall_edge_bridge.drives import Drive, DriveSettings, Joint, Setpoints
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds import Kind
from wall_edge_bridge.sim import ByteTwin, FrameTwin, VirtualClock, wire_to

from wall_edge.bench.bus.clock import DriveClock, WireApart, no_collection

WATCHDOG_S = 0.5
"""Armed, as on a robot; so long that no measurement trips it."""
_SLACK_RAD = 0.1
_CYCLES = 300
_WARM_UP_CYCLES = 20


class AloneFigures(NamedTuple):
    """Of one drive."""

    cycles_hz: float
    """With the drive's own processor time on this machine."""
    protocol_hz: float
    """With a drive that computes in no time: what its order of requests and replies makes of the line."""
    cpu_us: float
    """Processor time of the drive in one cycle."""


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
    drive, _ = powered(kind, settings, joints, rest, clock, around)
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


def powered(
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
