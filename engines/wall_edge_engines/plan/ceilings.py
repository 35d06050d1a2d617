"""A target's ceilings as ranges: by the data sheet, and between the least and the largest that was measured.

Where nobody measured a device, the efficiencies that were measured on AGX Orin 64 stand in for it: what part
of its data sheet's figure is reached there. They are computed from that target's file, so there is one place
for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge_engines.build.targets.target import Ceiling, Target, targets

BANDWIDTH = "bandwidth"
REFERENCE = "orin-agx-64"


@dataclass(frozen=True)
class Range:
    """Of one ceiling, a second: bytes or operations. None where nothing is known.

    ``most`` cannot be exceeded, as far as is known; ``high`` and ``low`` are what is reached.
    """

    most: float | None
    high: float | None
    low: float | None
    note: str = ""
    """What a reader must know of the figures; empty for measured ones."""


def ceilings(target: Target) -> dict[str, Range]:
    """Bandwidth and the rate of every arithmetic, fp16's being bf16's."""
    reference = targets()[REFERENCE]
    bf16 = reference.bf16_tflops
    ranges = {
        BANDWIDTH: _range(BANDWIDTH, target.bandwidth_gb_s, reference.bandwidth_gb_s, 1e9),
        # Nobody measured products in float32.
        "fp32": _range("fp32", target.fp32_tflops, bf16, 1e12, "bf16 on AGX Orin 64"),
        "bf16": _range("bf16", target.bf16_tflops, bf16, 1e12),
        "int8": _range("int8", target.int8_tops, reference.int8_tops, 1e12),
    }
    return {**ranges, "fp16": ranges["bf16"]}


def _range(
    name: str, ceiling: Ceiling, reference: Ceiling, unit: float, whose: str = "on AGX Orin 64"
) -> Range:
    """``whose``: what ``reference`` is of, in words."""
    most = ceiling.theoretical
    if ceiling.measured:
        low, high = ceiling.measured
        note = (
            "" if most is not None else f"{name}: no data sheet's figure, the best measured one is the floor"
        )
        return Range(max(most or high, high) * unit, high * unit, low * unit, note)
    if most is None:
        return Range(None, None, None, f"{name}: no ceiling is known ({ceiling.theoretical_source})")
    low, high = efficiency(reference)
    note = f"{name}: nobody measured it here: {low:.0%} to {high:.0%} of the data sheet's, as {whose}"
    return Range(most * unit, high * most * unit, low * most * unit, note)


def efficiency(ceiling: Ceiling) -> tuple[float, float]:
    """The least and the largest measured figure as a part of the theoretical one."""
    assert ceiling.theoretical is not None
    low, high = ceiling.measured
    return low / ceiling.theoretical, high / ceiling.theoretical
