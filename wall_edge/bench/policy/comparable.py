"""Whether figures may stand beside others': what speaks against it, in words."""

from __future__ import annotations

from wall_edge.bench.policy.load import BUSY_CORES
from wall_edge.board import Facts

_SHORTEST_S = 1.0
"""Below, what the kernel counts of other programs' time (hundredths of seconds) says little."""


def doubts(
    before: Facts,
    after: Facts,
    busy_cores: float | None,
    seconds: float,
    device: str,
    *,
    integrated: bool = False,
) -> list[str]:
    """Why figures are not comparable; none: they are.

    ``before, after``: the machine's facts at both ends of the run; ``busy_cores``: kept busy by other
    programs for ``seconds``, None where nothing counts them. Clocks are asked of a Jetson alone:
    ``integrated``, a GPU that shares the host's memory, is one, though a container may hide its files.
    """
    reasons = []
    if busy_cores is None:
        reasons.append("what other programs did meanwhile cannot be read (/proc/stat)")
    elif seconds < _SHORTEST_S:
        reasons.append(
            f"timed for {seconds:.2f} s, too short to tell what other programs did: take more --repeats"
        )
    elif busy_cores > BUSY_CORES:
        reasons.append(f"other programs kept {busy_cores:g} cores busy: end them and measure again")
    return reasons + (_of_jetson(before, after, device) if before.is_jetson or integrated else [])


def _of_jetson(before: Facts, after: Facts, device: str) -> list[str]:
    reasons = []
    if before.power_mode is None:
        reasons.append("the power mode is unknown (/var/lib/nvpmodel/status, /etc/nvpmodel.conf)")
    elif before.power_mode != after.power_mode:
        reasons.append(f"the power mode changed from {before.power_mode} to {after.power_mode or 'unknown'}")
    if not before.cpu_clocks:
        reasons.append("the cores' clocks cannot be read (cpufreq)")
    if device != "cpu" and before.gpu_clock is None:
        reasons.append("the GPU's clock cannot be read (/sys/class/devfreq)")
    if not (before.clocks_locked and after.clocks_locked):
        reasons.append("the clocks are not locked: sudo jetson_clocks")
    if before.jetpack is None:
        reasons.append("the version of JetPack is unknown (/etc/nv_tegra_release, /var/lib/dpkg/status)")
    return reasons
