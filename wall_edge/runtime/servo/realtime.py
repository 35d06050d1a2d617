"""Asks the kernel for punctuality; whatever it refuses is reported and never fatal."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PM_QOS = Path("/dev/cpu_dma_latency")


@dataclass(frozen=True)
class Setting:
    """One thing asked for: ``scheduler``, ``affinity``, ``memory``, ``idle`` or ``gc``."""

    name: str
    granted: bool
    detail: str
    """What is in force now, or why it was refused and what would help."""


@dataclass(frozen=True)
class RealtimeReport:
    """What was asked for; what was not asked for is absent."""

    settings: tuple[Setting, ...]

    @property
    def refused(self) -> tuple[Setting, ...]:
        """The settings that the kernel refused, in whole or in part."""
        return tuple(setting for setting in self.settings if not setting.granted)

    def as_dict(self) -> dict[str, dict[str, object]]:
        """name → {granted, detail}, for a report."""
        return {setting.name: asdict(setting) for setting in self.settings}


def apply(
    fifo_priority: int | None, cpu: int | None, lock_memory: bool, wake_latency_us: int | None = None
) -> RealtimeReport:
    """Applies to the calling thread (scheduler) and process; None and False ask for nothing.

    ``wake_latency_us`` bounds how deep the cores may sleep while this process lives (the kernel's PM QoS,
    Documentation/power/pm_qos_interface.rst): waking an idle core can take milliseconds. The garbage
    collector is always stopped: what exists is frozen, and a servo loop makes no cycles.
    """
    settings = []
    if fifo_priority is not None:
        settings.append(_try("scheduler", lambda: _fifo(fifo_priority), "grant CAP_SYS_NICE or raise rtprio"))
    if cpu is not None:
        settings.append(_try("affinity", lambda: _pin(cpu), "name a core that this machine has"))
    if lock_memory:
        settings.append(_try("memory", _lock_memory, "raise memlock in limits.conf to unlimited"))
    if wake_latency_us is not None:
        settings.append(_try("idle", lambda: _limit_idle(wake_latency_us), f"allow writing {_PM_QOS}"))
    settings.append(_try("gc", _stop_gc, ""))
    return RealtimeReport(tuple(settings))


def _try(name: str, action: Callable[[], str], fix: str) -> Setting:
    try:
        return Setting(name, True, action())
    except OSError as error:
        return Setting(name, False, f"refused: {error.strerror or error}; {fix}")


def _fifo(priority: int) -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    return f"SCHED_FIFO {priority}"


def _pin(cpu: int) -> str:
    os.sched_setaffinity(0, {cpu})
    return f"core {cpu}"


def _lock_memory() -> str:
    unlimited = resource.RLIM_INFINITY
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != unlimited:
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))
        except (OSError, ValueError) as error:
            # MCL_FUTURE under a limit would turn a later allocation into a MemoryError amid a tick.
            _mlockall(_MCL_CURRENT)
            raise OSError(f"present pages are locked, future ones are not ({error})") from None
    _mlockall(_MCL_CURRENT | _MCL_FUTURE)
    return "all pages locked"


def _mlockall(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).mlockall(flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _limit_idle(microseconds: int) -> str:
    # The request holds for as long as the file is open: it is left to the process's end to close it.
    descriptor = os.open(_PM_QOS, os.O_WRONLY)
    os.write(descriptor, struct.pack("i", microseconds))
    return f"cores wake within {microseconds} µs"


def _stop_gc() -> str:
    gc.collect()
    gc.freeze()
    gc.disable()
    return "frozen and disabled"
