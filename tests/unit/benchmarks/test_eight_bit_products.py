"""The choice of 8-bit kernels against ONNX Runtime itself, on this processor and on those it can play."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import eight_bit_products
from benchmarks.eight_bit_products import LEVELS, elsewhere, rows

SMALL = ((8, 256, 128),)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if platform.machine() != "x86_64" or "cpuid_fault" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor plays no other")
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("older_cpu") / "older_cpu.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(path), str(eight_bit_products._LIBRARY)]
    subprocess.run(command, check=True)
    return path


def test_what_is_chosen_here_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eight_bit_products, "SIZES", SMALL)
    (row,) = rows("this", 1, 1)
    assert row[f"{row['chosen']}_error"] < 1e-5


@pytest.mark.parametrize("level", [level for level in LEVELS if level != "this"])
def test_what_is_chosen_on_an_older_processor_is_exact_and_needed(library: Path, level: str) -> None:
    """Where the option is chosen, ONNX Runtime's default is wrong; where it is not, the default is exact."""
    measured = elsewhere(level, library, ["--threads", "1", "--repeats", "1", "--sizes", "1"])
    assert measured
    for row in measured:
        assert row[f"{row['chosen']}_error"] < 1e-5
        assert (row["chosen"] == "precise") == (row["fast_error"] > 1e-3)
