"""How late the servo loop's ticks begin, beside a relative-sleep loop and ``cyclictest``.

What is measured is the real loop: :class:`ServoLoop` in a process of its own with the settings of
:func:`~runtime.servo.process.run_servo`, following chunks out of the mailbox, on a computed drive of six
joints. The relative-sleep loop does the same ticks as ``tick(); time.sleep(period)`` in a plain process; its
grid starts anew at each tick, so a tick's lateness is its interval less the period, and the sum of that is
how far it drifts. Where the load is ``python`` or ``inference``, a thread in that process computes, as a
policy in the control process does.

How the comparison is kept fair: a virtual machine may stall for tens of milliseconds, and ten ticks of
10 000 make a p99.9, so one stall that only one side met would decide it. cyclictest therefore runs at the
same time as our loop, on the same core (a core of a virtual machine may stall
alone), at the same SCHED_FIFO priority and period, so that both meet the same stalls. Their grids
lie half a period apart (``--secaligned``), so that neither waits for the other. cyclictest leaves out
the wake-ups that a stall swallowed where our Ticker counts them; they are added
(:func:`~wall_edge.bench.cyclictest.missed_wakeups_added`), and its own figures are reported too. The
relative-sleep loop comes after that, under the same load, as our loop at FIFO would preempt it.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wall_edge.bench.processes import Load, LoopResult, load, relative_loop, servo_loop
from wall_edge.bench.report import report
from wall_edge.bench.rig import FEED_S, Feeder, bench_config, median_tick_ns, require_rate
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.runtime.daemon.children import Children
from wall_edge.runtime.ipc.messages import Failure, Ready

_START_S, _LAUNCH_NS, _SECOND_NS = 60.0, 400_000_000, 1_000_000_000
_HISTOGRAM_US = 100_000


def measure(
    rate_hz: float, seconds: float, kind: Load, stage: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """All loops in one run: what ``wall-edge bench loop --json`` prints. Raises WallEdgeError."""
    config = bench_config(rate_hz)
    require_rate(rate_hz, median_tick_ns(config))
    with _ending(Children()) as burning:
        stage("load")
        _start_load(burning, kind)
        stage("servo loop, cyclictest")
        ours, printed = _run("servo", servo_loop, config, (), seconds, _cyclictest(config))
        stage("relative sleep")
        relative, _ = _run("relative", relative_loop, config, (kind != "none",), seconds, None)
        if dead := burning.failure():
            raise RuntimeFault(dead)
    return report(rate_hz, seconds, kind, ours, relative, printed)


@contextmanager
def _ending(children: Children) -> Iterator[Children]:
    try:
        yield children
    finally:
        for name in children.names:
            children.kill(name)


def _start_load(children: Children, kind: Load) -> None:
    cores = len(os.sched_getaffinity(0)) if kind != "none" else 0
    names = [f"load{k}" for k in range(cores)]
    with _environment("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        for name in names:
            children.spawn(name, load, kind)
    _listen(children, set(names), Ready, time.monotonic() + _START_S)


@contextmanager
def _environment(*names: str) -> Iterator[None]:
    """One thread in each process started here: there is one for each core."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _listen(
    children: Children,
    names: set[str],
    kind: type[Any],
    deadline_s: float,
    feeder: Feeder | None = None,
) -> dict[str, Any]:
    """The messages of ``kind`` that each of ``names`` sends, fed meanwhile."""
    messages: dict[str, Any] = {}
    feed_s = time.monotonic()
    while names - messages.keys():
        if feeder is not None and time.monotonic() >= feed_s:
            feeder.feed(time.monotonic_ns())
            feed_s = time.monotonic() + FEED_S
        for name, message in children.receive(FEED_S / 10):
            if isinstance(message, Failure):
                raise RuntimeFault(message.reason)
            if isinstance(message, kind):
                messages[name] = message
        if time.monotonic() > deadline_s:
            raise RuntimeFault(f"{', '.join(sorted(names - messages.keys()))} said nothing in time")
        if (dead := children.failure()) and not names <= messages.keys():
            raise RuntimeFault(dead)
    return messages


def _run(
    name: str,
    body: Callable[..., None],
    config: RobotConfig,
    more: tuple[object, ...],
    seconds: float,
    beside: Callable[[float], subprocess.Popen[str]] | None,
) -> tuple[LoopResult, str | None]:
    """One loop for ``seconds`` from a whole second on, as cyclictest, if it runs ``beside``."""
    feeder = Feeder()
    window = multiprocessing.get_context("spawn").RawArray(ctypes.c_int64, 2)
    with _ending(Children()) as children:
        children.spawn(name, body, config, feeder.chunks, feeder.command, feeder.feedback, window, *more)
        _listen(children, {name}, Ready, time.monotonic() + _START_S, feeder)
        begin_ns = -(-(time.monotonic_ns() + _LAUNCH_NS) // _SECOND_NS) * _SECOND_NS
        while time.monotonic_ns() < begin_ns - _LAUNCH_NS:
            feeder.feed(time.monotonic_ns())
            time.sleep(0.01)
        other = beside(seconds) if beside is not None else None
        try:
            window[1] = begin_ns + round(seconds * 1e9)
            window[0] = begin_ns
            messages = _listen(children, {name}, LoopResult, time.monotonic() + seconds + _START_S, feeder)
            printed = other.communicate(timeout=_START_S)[0] if other is not None else None
        finally:
            if other is not None and other.poll() is None:
                other.kill()
                other.communicate()
    return messages[name], printed


def _cyclictest(config: RobotConfig) -> Callable[[float], subprocess.Popen[str]] | None:
    path = shutil.which("cyclictest")
    if path is None:
        return None
    period = round(1e6 / config.control.rate_hz)
    command = [path, "-m", f"-p{config.control.fifo_priority}", "-i", str(period), "-q"]
    command += ["-a", str(config.control.cpu), "-h", str(_HISTOGRAM_US), f"--secaligned={period // 2}"]

    def start(seconds: float) -> subprocess.Popen[str]:
        limited = [*command, "-D", str(math.ceil(seconds))]
        return subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return start
