"""8-bit products of ONNX Runtime by kind of processor: ``python benchmarks/eight_bit_products.py``.

One linear layer in float32 and with 8-bit input and weight, at sizes of WALL-OSS, with and without
``session.x64quantprecision``: how fast, and how far from the exact sums. On Linux for x86 also on processors
without AMX, AVX-512 or VNNI, as far as this one can play them: ``peers/older_cpu.c`` hides the instructions
from whoever asks CPUID, so that their kernels run at this processor's clock and caches. The last columns are
what :mod:`wall_edge_engines.processors` chooses, and its speed over float32's. Variants run in turns, best of
``--repeats``: load by other programs slows all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from wall_edge_engines.processors import eight_bit_products, processor_flags

from wall_edge.provenance import provenance

SIZES = ((32, 2048, 2560), (32, 2048, 4096), (284, 2048, 22016), (284, 11008, 2048), (756, 1280, 3840))
"""Tokens, inputs, outputs: q/k/v, gate/up of an action step; gate/up, down of a prompt; q/k/v of vision."""
_AMX, _VNNI = {"amx_tile", "amx_int8"}, {"avx512_vnni"}
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
LEVELS: dict[str, set[str]] = {
    "this": set(),
    "avx512_vnni": _AMX,
    "avx_vnni": _AMX | _VNNI | _AVX512,
    "avx512": _AMX | _VNNI | {"avx_vnni"},
    "avx2": _AMX | _VNNI | _AVX512 | {"avx_vnni"},
}
"""By name of older_cpu.c: which flags it hides."""
_LIBRARY = Path(__file__).parent / "peers" / "older_cpu.c"


def layer(tokens: int, inputs: int, outputs: int, *, eight_bit: bool) -> bytes:
    """``x [tokens, inputs]`` → ``y [tokens, outputs]``, as export writes it."""
    weight = np.random.default_rng(0).standard_normal((outputs, inputs), dtype=np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [tokens, inputs])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [tokens, outputs])
    constants = {"w": weight}
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    if eight_bit:
        scale = np.abs(weight).max(axis=1) / np.float32(127)
        constants = {
            "w": np.round(weight / scale[:, None]).astype(np.int8),
            "w_scale": scale,
            "w_zero": np.zeros(outputs, np.int8),
            "x_scale": np.float32(4 / 127),
            "x_zero": np.int8(0),
        }
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "x_scale", "x_zero"], ["back"]),
            helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wide"], axis=0),
            helper.make_node("Gemm", ["back", "wide"], ["y"], transB=1),
        ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def session(model: bytes, threads: int, **entries: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def row(size: tuple[int, int, int], threads: int, repeats: int) -> dict[str, Any]:
    """Gop/s of each variant and the largest relative error of the 8-bit ones."""
    tokens, inputs, outputs = size
    wide, narrow = (layer(*size, eight_bit=eight_bit) for eight_bit in (False, True))
    exact = session(narrow, threads, disable_quant_qdq="1")  # its products are float32's
    variants = {
        "fp32": session(wide, threads),
        "fast": session(narrow, threads),
        "precise": session(narrow, threads, x64quantprecision="1"),
    }
    feeds = {"x": np.random.default_rng(1).standard_normal((tokens, inputs), dtype=np.float32)}
    y = exact.run(None, feeds)[0]
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats + 1):
        for name, variant in variants.items():
            begun = time.perf_counter()
            variant.run(None, feeds)
            times[name].append(time.perf_counter() - begun)
    result: dict[str, Any] = {"size": list(size)}
    for name, variant in variants.items():
        result[f"{name}_gops"] = 2e-9 * tokens * inputs * outputs / min(times[name][1:])
        if name != "fp32":
            result[f"{name}_error"] = float(np.abs(variant.run(None, feeds)[0] - y).max() / np.abs(y).max())
    return result


def rows(level: str, threads: int, repeats: int, sizes: int = len(SIZES)) -> Iterator[dict[str, Any]]:
    flags = processor_flags(Path("/proc/cpuinfo").read_text()) - LEVELS[level]
    products = eight_bit_products(platform.machine(), flags)
    chosen = "precise" if products.saturates else "fast"
    for size in SIZES[:sizes]:
        measured = row(size, threads, repeats)
        over = measured[f"{chosen}_gops"] / measured["fp32_gops"]
        yield {"level": level, "kernel": products.kernel, **measured, "chosen": chosen, "over_fp32": over}


def elsewhere(level: str, library: Path, arguments: list[str]) -> list[dict[str, Any]]:
    """The rows of a process that sees an older processor."""
    command = [sys.executable, __file__, "--level", level, "--json", *arguments]
    environment = {**os.environ, "OLDER_CPU": level, "LD_PRELOAD": str(library)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"note: no processor of level {level} here: {done.stderr.strip()[-200:]}", file=sys.stderr)
        return []
    result: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--level", choices=LEVELS, help="what this process is made to see; all without it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="how many of the layers")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    measured = list(rows(given.level or "this", given.threads, given.repeats, given.sizes))
    if given.level is None and platform.machine() == "x86_64":
        arguments = ["--threads", str(given.threads), "--repeats", str(given.repeats)]
        arguments += ["--sizes", str(given.sizes)]
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "older_cpu.so"
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, _LIBRARY], check=True)
            for level in list(LEVELS)[1:]:
                measured += elsewhere(level, library, arguments)
    facts = provenance("onnxruntime", "onnx")
    print(json.dumps({"rows": measured, **facts}) if given.json else _table(measured, facts))
    return 0


def _table(measured: list[dict[str, Any]], facts: dict[str, str]) -> str:
    heading = (
        f"{'processor':12} {'kernel':13} {'tokens in out':>16}  fp32  fast (error)  precise (error)  chosen"
    )
    lines = [heading + "   over fp32"]
    for r in measured:
        size = " ".join(map(str, r["size"]))
        lines.append(
            f"{r['level']:12} {r['kernel']:13} {size:>16} {r['fp32_gops']:5.0f} {r['fast_gops']:5.0f} "
            f"({r['fast_error']:.0e}) {r['precise_gops']:8.0f} ({r['precise_error']:.0e}) {r['chosen']:>8} "
            f"{r['over_fp32']:10.2f}"
        )
    return "\n".join(["Gop/s", *lines, "", *(f"{name:10} {value}" for name, value in facts.items())])


if __name__ == "__main__":
    sys.exit(main())
