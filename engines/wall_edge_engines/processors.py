"""How ONNX Runtime multiplies 8-bit numbers on this processor, and whether that is exact.

x86 without VNNI adds two products of bytes into 16 bits, which saturate: sums were seen wrong by 11 to 48 %.
There ``session.x64quantprecision`` has the bytes widened first, which is exact. Elsewhere the products are
exact already, and the option would only take the fast kernels away: ONNX Runtime obeys it on every x86 with
AVX2. Which kernel runs where: ``MLAS_PLATFORM`` in onnxruntime/core/mlas/lib/platform.cpp (1.32); which is
fastest: ``python benchmarks/eight_bit_products.py``.
"""

from __future__ import annotations

import platform
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

_X86 = ("x86_64", "amd64", "i386", "i686")


@dataclass(frozen=True)
class EightBitProducts:
    """``kernel``: the instructions. ``saturates``: whether their sums are only exact when told to be."""

    kernel: str
    saturates: bool = False

    def __str__(self) -> str:
        why = " widened to 16 bits, as pairs would saturate without VNNI" if self.saturates else ""
        return f"8-bit products by {self.kernel}{why}"


def eight_bit_products(machine: str, flags: Set[str]) -> EightBitProducts:
    """By architecture (``platform.machine``) and the processor's flags as ``/proc/cpuinfo`` names them."""
    if machine.lower() not in _X86:  # ARM's kernels add into 32 bits, or one pair into 16, which has room
        return EightBitProducts("NEON dot products" if "asimddp" in flags else "NEON")
    if {"amx_tile", "amx_int8"} <= flags:
        return EightBitProducts("AMX")
    if "avx512_vnni" in flags:
        return EightBitProducts("AVX-512 VNNI")
    if {"avx512bw", "avx512dq", "avx512vl"} <= flags:
        return EightBitProducts("AVX-512", saturates=True)
    if "avx_vnni" in flags:
        return EightBitProducts("AVX-VNNI")
    return EightBitProducts("AVX2", saturates=True) if "avx2" in flags else EightBitProducts("SSE")


def here() -> EightBitProducts:
    """Of this machine."""
    return eight_bit_products(platform.machine(), processor_flags(Path("/proc/cpuinfo").read_text()))


def processor_flags(cpuinfo: str) -> frozenset[str]:
    """The flags in the text of ``/proc/cpuinfo``: its first line of ``flags`` (x86) or ``Features`` (ARM)."""
    for line in cpuinfo.splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(values.split())
    return frozenset()
