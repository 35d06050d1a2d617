"""Which kernels multiply 8-bit numbers, and that the choice is obeyed and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from wall_edge_engines import OnnxRuntimeEngine, onnxruntime, processors
from wall_edge_engines.processors import EightBitProducts, eight_bit_products, processor_flags

from wall_edge.bundle import Bundle

AVX512 = "avx2 avx512f avx512bw avx512dq avx512vl"
PROCESSORS = [
    ("x86_64", "sse2 ssse3", "SSE", False),
    ("x86_64", "avx", "SSE", False),
    ("x86_64", "avx2 fma", "AVX2", True),
    ("AMD64", "avx2 fma", "AVX2", True),
    ("x86_64", "avx2 avx512f", "AVX2", True),  # Knights Landing: its kernels are AVX2's
    ("x86_64", AVX512, "AVX-512", True),  # Skylake
    ("x86_64", f"{AVX512} avx512_vnni", "AVX-512 VNNI", False),  # Cascade Lake, Zen 4
    ("x86_64", "avx2 avx_vnni", "AVX-VNNI", False),  # Alder Lake
    ("x86_64", f"{AVX512} avx_vnni", "AVX-512", True),  # ONNX Runtime takes AVX-512's kernels over AVX-VNNI's
    ("x86_64", f"{AVX512} avx512_vnni avx_vnni amx_tile amx_int8", "AMX", False),  # Sapphire Rapids
    ("x86_64", f"{AVX512} avx512_vnni amx_tile amx_bf16", "AVX-512 VNNI", False),
    ("aarch64", "fp asimd asimddp", "NEON dot products", False),  # Orin
    ("aarch64", "fp asimd", "NEON", False),
    ("x86_64", "", "SSE", False),
]


@pytest.mark.parametrize(("machine", "flags", "kernel", "saturates"), PROCESSORS)
def test_products_saturate_where_onnx_runtime_adds_pairs_into_16_bits(
    machine: str, flags: str, kernel: str, saturates: bool
) -> None:
    products = eight_bit_products(machine, frozenset(flags.split()))
    assert products == EightBitProducts(kernel, saturates)
    assert ("without VNNI" in str(products)) == saturates


def test_flags_are_read_from_the_first_processor() -> None:
    x86 = (
        "processor\t: 0\nmodel name\t: X: Y\nflags\t\t: fpu avx2 avx_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    )
    assert processor_flags(x86) == {"fpu", "avx2", "avx_vnni"}
    assert processor_flags("processor\t: 0\nFeatures\t: fp asimd asimddp\n") == {"fp", "asimd", "asimddp"}
    assert processor_flags("model name : avx2 flags\n") == frozenset()


@pytest.mark.parametrize("saturates", [True, False])
def test_the_choice_is_obeyed_and_said(
    int8_bundle: Path, monkeypatch: pytest.MonkeyPatch, saturates: bool
) -> None:
    """The option only where it is needed: with VNNI it takes the fast kernels away and changes nothing."""
    monkeypatch.setattr(onnxruntime, "here", lambda: EightBitProducts("its kernel", saturates))
    bundle = Bundle(int8_bundle)
    engine = OnnxRuntimeEngine(bundle.folder, bundle.manifest.graphs)
    for session in engine._sessions.values():
        option = session.get_session_options().get_session_config_entry("session.x64quantprecision")
        assert option == str(int(saturates))
    assert "8-bit products by its kernel" in engine.description
    assert "threads: 1" in engine.description


def test_nothing_is_said_of_8_bit_products_that_are_not_there(shipped_bundle: Path) -> None:
    bundle = Bundle(shipped_bundle)
    assert "8-bit" not in OnnxRuntimeEngine(bundle.folder, bundle.manifest.graphs).description
    assert processors.here().kernel
