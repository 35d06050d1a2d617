"""The ``control`` section of ROBOT.yaml: the servo loop."""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.checks import (
    MAX_DOF,
    between,
    counted,
    positive,
)
from wall_edge.config.limits import MAX_MS, MAX_VELOCITY
from wall_edge.config_loader import Invalid


@dataclass(frozen=True)
class ControlConfig:
    """The servo loop."""

    rest: tuple[float, ...]
    """Where the arm goes before its torque is released [rad], one a joint."""
    rate_hz: float = 250.0
    """Setpoints a second, 10 to 1000."""
    fifo_priority: int | None = 80
    """SCHED_FIFO priority, 1 to 99; null leaves the scheduler alone."""
    cpu: int | None = None
    """The core that the servo process is tied to; null for any."""
    lock_memory: bool = True
    """mlockall, so that no tick waits for a page."""
    wake_latency_us: int | None = 0
    """How long a core may take to wake from idling [µs]; null lets them sleep, which saves power."""
    rest_velocity: float = 0.8
    """Speed of the way to ``rest`` [rad/s]."""
    feedback_timeout_ms: float = 100.0
    """Joint feedback older than this is a fault [ms]."""
    blend_ms: float = 50.0
    """Within what time the motion so far gives way to a new chunk [ms]."""
    starved_fault_ms: float = 2000.0
    """How long the arm waits at a standstill for the next chunk before that is a fault [ms]."""
    first_chunk_ms: float = 30_000.0
    """How long it waits for the first chunk of an instruction before that is a fault [ms]."""
    heartbeat_timeout_ms: float = 1000.0
    """A supervisor silent for longer is dead: the arm goes to rest by itself [ms]."""
    watchdog_periods: float = 25.0
    """Motors that have a watchdog stop by themselves after so many periods of the loop without setpoints."""
    settle_ms: float = 1000.0
    """How long the joints may trail behind ``rest`` before torque goes off anyway [ms]."""
    settled_rad: float = 0.05
    """How near to ``rest`` counts as there [rad]."""
    fault_hold_ms: float = 1000.0
    """How long a faulted arm is held, so that a person sees it stop before it goes limp [ms]."""
    start_slack_rad: float = 0.05
    """How far outside its limits a joint may be at the start, and still be enabled [rad]."""
    following_error_rad: float = 0.35
    """A joint farther than this from its setpoint, for longer than feedback_timeout_ms, is a fault [rad]."""
    impossible_velocity: float = 3.0
    """A joint seen to move faster than this multiple of its max_velocity was not seen right."""

    @property
    def watchdog_s(self) -> float:
        """After what time without setpoints motors stop by themselves [s]."""
        return self.watchdog_periods / self.rate_hz

    def __post_init__(self) -> None:
        between("rate_hz", self.rate_hz, 10, 1000, "Hz")
        between("fifo_priority", self.fifo_priority, 1, 99)
        between("cpu", self.cpu, 0, 1023)
        between("wake_latency_us", self.wake_latency_us, 0, 10_000, "us")
        positive("rest_velocity", self.rest_velocity, "rad/s", MAX_VELOCITY)
        between("following_error_rad", self.following_error_rad, 0.01, 10, "rad")
        between("impossible_velocity", self.impossible_velocity, 1, 100)
        between("watchdog_periods", self.watchdog_periods, 4, 1000, "periods")
        for name in ("settle_ms", "settled_rad", "fault_hold_ms", "start_slack_rad"):
            between(name, getattr(self, name), 0, 60_000)
        for name in ("starved_fault_ms", "first_chunk_ms", "heartbeat_timeout_ms"):
            positive(name, getattr(self, name), "ms", MAX_MS)
        for name in ("blend_ms", "feedback_timeout_ms"):
            between(name, getattr(self, name), 0, 60_000, "ms")
        counted("rest", self.rest, 1, MAX_DOF)
        if self.blend_ms < 2000.0 / self.rate_hz:
            expected = f"at least two ticks ({2000.0 / self.rate_hz:g} ms at {self.rate_hz:g} Hz)"
            raise Invalid("blend_ms", self.blend_ms, expected=expected)
        if self.feedback_timeout_ms < 2000.0 / self.rate_hz:
            expected = f"at least two ticks ({2000.0 / self.rate_hz:g} ms at {self.rate_hz:g} Hz)"
            raise Invalid("feedback_timeout_ms", self.feedback_timeout_ms, expected=expected)
