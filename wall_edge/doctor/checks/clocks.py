"""Speed: power mode, clocks, heat and supply.

Sources: NVIDIA's Developer Guide, "Platform Power and Performance" (modes, throttle alerts, over-current
events); OC3 counts instantaneous peaks that normal load makes too, so it is not told.
"""

from __future__ import annotations

from collections.abc import Iterator

from wall_edge.board import Clock
from wall_edge.board.modes import fastest, power_modes
from wall_edge.board.releases import numbers
from wall_edge.doctor.finding import Remark
from wall_edge.doctor.machine import Machine

_THERMAL = "/sys/class/thermal"
_HWMON = "/sys/class/hwmon"


def power_mode(machine: Machine) -> Iterator[Remark]:
    """Any mode but the fastest caps clocks, cores or memory."""
    modes, mode = power_modes(machine.tree), machine.facts.power_mode
    best = fastest(modes)
    if mode is None or best is None:
        yield Remark("note", "the power mode cannot be read", "sudo nvpmodel -q")
    elif modes[best] != mode:
        what = f"power mode {mode}; the fastest of this board is {modes[best]}"
        yield Remark("warning", what, f"sudo nvpmodel -m {best}  # with a supply and cooling for it")


def super_modes(machine: Machine) -> Iterator[Remark]:
    """Orin NX and Nano have faster modes since JetPack 6.2, if they were flashed with that configuration."""
    facts = machine.facts
    orin = (facts.part_number or "").startswith("p3767")
    lacking = facts.power_modes and not any("SUPER" in mode for mode in facts.power_modes)
    if orin and lacking and numbers(facts.l4t) >= (36, 4, 3):
        what = "no SUPER mode: the board was flashed with the configuration of before JetPack 6.2"
        fix = "flash with jetson-orin-nano-devkit-super.conf, if carrier, supply and cooling allow it"
        yield Remark("note", what, fix)


def locked(machine: Machine) -> Iterator[Remark]:
    """Governors lower the clocks between two chunks; a figure measured so cannot be compared."""
    facts = machine.facts
    clocks = {"GPU": facts.gpu_clock, "memory": facts.memory_clock, **facts.cpu_clocks}
    free = {name: clock for name, clock in clocks.items() if clock is not None and not clock.locked}
    if free:
        shown = ", ".join(f"{name} {_range(clock)}" for name, clock in list(free.items())[:3])
        more = f" and {len(free) - 3} more" if len(free) > 3 else ""
        fix = "sudo jetson_clocks  # after each start and each change of the power mode"
        yield Remark("warning", f"clocks are not locked: {shown}{more}", fix)
    elif facts.gpu_clock is None:
        yield Remark("note", "the GPU's clock cannot be read", "sudo jetson_clocks --show")


def _range(clock: Clock) -> str:
    bounds = ("?" if rate is None else f"{rate / 1e6:.0f}" for rate in (clock.least, clock.most))
    return f"{' to '.join(bounds)} MHz"


def throttling(machine: Machine) -> Iterator[Remark]:
    """Cooling devices that slow a processor right now."""
    tree = machine.tree
    names = []
    for device in tree.names(_THERMAL):
        kind = tree.text(f"{_THERMAL}/{device}/type") or ""
        if kind.endswith("-throttle-alert") and (tree.number(f"{_THERMAL}/{device}/cur_state") or 0) > 0:
            names.append(kind.removesuffix("-throttle-alert"))
    if names:
        what = f"too hot: {', '.join(sorted(names))} slowed down right now"
        yield Remark("warning", what, "sudo jetson_clocks --fan  # full speed; see to fan and heat sink")


def supply(machine: Machine) -> Iterator[Remark]:
    """Under-voltage (OC1) and average over-current (OC2) since the start: the supply is too weak."""
    tree = machine.tree
    for monitor in tree.names(_HWMON):
        folder = f"{_HWMON}/{monitor}"
        if tree.text(f"{folder}/name") != "soctherm_oc":
            continue
        for event, meaning in (("oc1", "under-voltage"), ("oc2", "over-current")):
            count = tree.number(f"{folder}/{event}_event_cnt") or 0
            if count > 0:
                what = f"{meaning}, counted {count} x since the start: the board slowed itself down"
                fix = (
                    "take a stronger supply, not shared with motors, and short cables; or a lower power mode"
                )
                yield Remark("warning", what, fix)
