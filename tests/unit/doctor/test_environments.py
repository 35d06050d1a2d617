"""Kernel, disk, memory of a bundle, and the Python environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recorded import PYTHON, beside_kernel, change, copied, machine, robot_file
from wall_edge.bundle import Bundle
from wall_edge.doctor import Python, diagnose


def test_orin_nx_without_super_modes(tmp_path: Path) -> None:
    root = copied("orin-nx-16", tmp_path)
    change(root, "/etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=10W >\n")
    (one,) = beside_kernel(machine(root))
    assert (one.severity, one.check) == ("note", "super-modes")


def test_a_real_time_kernel_that_is_not_started_and_a_core_for_it(tmp_path: Path) -> None:
    root = copied("agx-orin-64-realtime", tmp_path)
    change(root, "/sys/kernel/realtime", None)
    change(root, "/sys/devices/system/cpu/isolated", "")
    (one,) = diagnose(machine(root)).findings
    assert one.check == "realtime-kernel"
    assert "DEFAULT real-time" in one.fix
    change(root, "/sys/kernel/realtime", "1")
    (one,) = diagnose(machine(root)).findings
    assert (one.severity, one.check) == ("note", "isolated-cores")


@pytest.mark.parametrize(("online", "severities"), [("0-11\n", []), ("0-3\n", ["error"]), ("", [])])
def test_a_servo_core_that_the_board_does_not_have(
    tmp_path: Path, online: str, severities: list[str]
) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/sys/devices/system/cpu/online", online)
    seen = beside_kernel(machine(root, robot_file(tmp_path, control={"cpu": 11})))
    assert [one.severity for one in seen if one.check == "servo-core"] == severities


@pytest.mark.parametrize(("free", "severity"), [(9_900_000_000, "warning"), (400_000_000, "error")])
def test_a_full_disk(tmp_path: Path, free: int, severity: str) -> None:
    full = replace(machine(copied("agx-orin-64", tmp_path)), free_bytes=free)
    (one,) = beside_kernel(full)
    assert (one.severity, one.check) == (severity, "disk")


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    robot = robot_file(tmp_path)
    (tmp_path / "bundle").rmdir()
    (one,) = beside_kernel(machine(copied("agx-orin-64", tmp_path), robot))
    assert (one.severity, one.check) == ("error", "bundle")


@pytest.mark.parametrize(
    ("total", "free", "severity", "words"),
    [
        (64_000_000, 60_000_000, None, ""),
        (21_000_000, 1_000_000, "warning", "free now"),
        (1_500_000, 900_000, "error", "running takes"),
    ],
)
def test_memory_is_too_little_for_the_bundle(
    tmp_path: Path, copy_bundle: Callable[[], Bundle], total: int, free: int, severity: str | None, words: str
) -> None:
    copy_bundle()
    root = copied("agx-orin-64", tmp_path)
    change(root, "/proc/meminfo", f"MemTotal: {total} kB\nMemAvailable: {free} kB\n")
    robot = robot_file(tmp_path, policy={"engine": "tensorrt", "device": "cuda"})
    memory = [one for one in beside_kernel(machine(root, robot)) if one.check == "memory"]
    assert [one.severity for one in memory] == ([] if severity is None else [severity])
    assert all(words in one.what for one in memory)


def test_a_damaged_bundle_is_one_finding(tmp_path: Path) -> None:
    robot = robot_file(tmp_path, policy={"engine": "tensorrt", "device": "cuda"})
    (one,) = beside_kernel(machine(copied("agx-orin-64", tmp_path), robot))
    assert (one.severity, one.check) == ("error", "memory")
    assert "cannot be opened" in one.what


def environment(
    root: Path, *folders: str, system: str = "true", version: tuple[int, int] = (3, 10)
) -> Python:
    change(root, "/opt/robot/pyvenv.cfg", f"home = /usr/bin\ninclude-system-site-packages = {system}\n")
    for name in folders:
        change(root, f"{PYTHON.folders[0]}/{name}/METADATA", "")
    also = (f"/usr/lib/python{version[0]}.{version[1]}/dist-packages",) if system == "true" else ()
    return Python(version, PYTHON.prefix, (*PYTHON.folders, *also))


def test_an_environment_as_it_should_be(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    python = environment(root, "cuda_bindings-12.9.4.dist-info", "onnxruntime-1.20.1.dist-info")
    assert beside_kernel(machine(root, robot_file(tmp_path), python)) == []


@pytest.mark.parametrize(
    ("folders", "system", "version", "check", "what"),
    [
        ((), "true", (3, 10), "python-cuda", "not installed"),
        (
            ("cuda_bindings-13.0.1.dist-info",),
            "true",
            (3, 10),
            "python-cuda",
            "13.0.1 is for another CUDA than 12.6",
        ),
        (("cuda_bindings-12.9.4.dist-info",), "false", (3, 10), "python-tensorrt", "does not see"),
        (
            ("cuda_bindings-12.9.4.dist-info",),
            "true",
            (3, 12),
            "python-tensorrt",
            "for Python 3.10; this is 3.12",
        ),
    ],
)
def test_an_environment_that_tensorrt_cannot_use(
    tmp_path: Path, folders: tuple[str, ...], system: str, version: tuple[int, int], check: str, what: str
) -> None:
    root = copied("agx-orin-64", tmp_path)
    python = environment(root, *folders, system=system, version=version)
    robot = robot_file(tmp_path, policy={"engine": "tensorrt", "device": "cuda"})
    (one,) = [one for one in beside_kernel(machine(root, robot, python)) if one.check != "memory"]
    assert (one.severity, one.check) == ("error", check)
    assert what in one.what


def test_without_tensorrt_on_the_robot_its_module_is_a_note(tmp_path: Path) -> None:
    root = copied("workstation", tmp_path)
    assert (
        beside_kernel(
            machine(root, robot_file(tmp_path), environment(root, "cuda_bindings-12.9.0.dist-info"))
        )
        == []
    )
    board = copied("agx-orin-64", tmp_path)
    change(board, "/usr/lib/python3.10/dist-packages/tensorrt/__init__.py", None)
    (board / "usr/lib/python3.10/dist-packages/tensorrt").rmdir()
    (one,) = beside_kernel(machine(board, None, environment(board, "cuda_bindings-12.9.0.dist-info")))
    assert (one.severity, one.check, one.fix) == (
        "note",
        "python-tensorrt",
        "sudo apt install python3-libnvinfer",
    )


def test_two_onnxruntimes(tmp_path: Path) -> None:
    root = copied("workstation", tmp_path)
    names = ("onnxruntime-1.20.1", "onnxruntime_gpu-1.20.1", "cuda_bindings-12.9.0")
    python = environment(root, *(f"{name}.dist-info" for name in names))
    (one,) = beside_kernel(machine(root, None, python))
    assert (one.severity, one.check) == ("error", "python-onnxruntime")
