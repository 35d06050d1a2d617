"""Clocks: bounds and present values of GPU, memory controller and cores [Hz]."""

from __future__ import annotations

import re

from wall_edge.board.facts import Clock, Tree

DEVFREQ = "/sys/class/devfreq"
_CPUS = "/sys/devices/system/cpu"
_EMC = "/sys/kernel/debug/bpmp/debug/clk/emc"


def gpu_clock(tree: Tree) -> Clock | None:
    """Orin's GPU is ``17000000.gpu`` (JetPack 5: ``17000000.ga10b``), Thor's ``gpu-gpc-0``."""
    for name in tree.names(DEVFREQ):
        if re.fullmatch(r"[0-9a-f]+\.(gpu|ga10b|gv11b)|gpu-gpc-0", name):
            return _bounds(tree, f"{DEVFREQ}/{name}")
    return None


def _bounds(tree: Tree, folder: str) -> Clock | None:
    """Of a devfreq device."""
    rates = re.findall(r"\b\d{1,15}\b", tree.text(f"{folder}/available_frequencies") or "", re.ASCII)
    return _unless_empty(
        Clock(
            least=tree.number(f"{folder}/min_freq"),
            most=tree.number(f"{folder}/max_freq"),
            now=tree.number(f"{folder}/cur_freq"),
            hardware_most=max(map(int, rates), default=None),
        )
    )


def memory_clock(tree: Tree) -> Clock | None:
    """Of Tegra's memory controller: of two places the one that says locked, or the first that says anything.

    Thor, and Orin since release 39, have ``bwmgr`` among the devfreq devices, for everybody to read
    (rbonghi/jetson_stats#825; ``jetson_clocks`` sets its bounds to one).
    """
    devfreq = _bounds(tree, f"{DEVFREQ}/bwmgr")
    clocks = [clock for clock in (_boot_processor(tree), devfreq) if clock is not None]
    return next((clock for clock in clocks if clock.locked), clocks[0] if clocks else None)


def _boot_processor(tree: Tree) -> Clock | None:
    """The boot processor's debug files, for root alone (release 36).

    ``min_rate`` stays where it is when ``jetson_clocks`` holds the rate; ``mrq_rate_locked`` says that.
    """
    now, most = tree.number(f"{_EMC}/rate"), tree.number(f"{_EMC}/max_rate")
    held = tree.number(f"{_EMC}/mrq_rate_locked") == 1
    least = now if held else tree.number(f"{_EMC}/min_rate")
    return _unless_empty(Clock(least=least, most=now if held else most, now=now, hardware_most=most))


def cpu_clocks(tree: Tree) -> dict[str, Clock]:
    """Of each core that is online and has a governor: cpufreq's kHz as Hz."""
    clocks = {}
    for name in tree.names(_CPUS):
        folder = f"{_CPUS}/{name}/cpufreq"
        if re.fullmatch(r"cpu\d+", name):
            keys = ("scaling_min_freq", "scaling_max_freq", "scaling_cur_freq", "cpuinfo_max_freq")
            rates = [tree.number(f"{folder}/{key}") for key in keys]
            clock = _unless_empty(Clock(*(None if rate is None else 1000 * rate for rate in rates)))
            if clock is not None:
                clocks[name] = clock
    return clocks


def _unless_empty(clock: Clock) -> Clock | None:
    return None if clock == Clock() else clock
