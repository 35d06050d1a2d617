"""JetPack, TensorRT, CUDA and the GPU: which go together.

Sources: the release table (``wall_edge/board/releases.py``); reports of users, November 2026: TensorRT
10.13.3's server build for Arm prints "Target GPU SM 87 is not supported" on Orin, and ``import tensorrt``
fails for want of ``libnvdla_compiler.so`` in containers on L4T 36.4 and 39, and where 36.5 was put together
by packages.
"""

from __future__ import annotations

from collections.abc import Iterator

from wall_edge.board.releases import numbers, release_of, same_release
from wall_edge.doctor.finding import Remark, Severity
from wall_edge.doctor.machine import Machine

_LEAST_TENSORRT = (10, 3)
"""What the engines are written against."""
_FLASH = "flash JetPack 6.2 or newer: https://developer.nvidia.com/embedded/jetpack"
_LIBRARIES = "/usr/lib/aarch64-linux-gnu"


def jetpack(machine: Machine) -> Iterator[Remark]:
    """Old releases, those that nobody compared, and boards whose packages are of two releases."""
    facts = machine.facts
    if facts.sm is not None and facts.sm < 80:
        yield Remark("error", f"{facts.soc} (SM{facts.sm}) has no TensorRT 10", "take an Orin or a Thor")
    elif numbers(facts.l4t)[:1] and numbers(facts.l4t) < (36, 4):
        what = f"L4T {facts.l4t} (JetPack {facts.jetpack or 'before 6.1'}) is too old: TensorRT before 10.3"
        yield Remark("error", what, _FLASH)
    elif facts.l4t is not None and release_of(facts.l4t) is None:
        what = f"L4T {facts.l4t} is not in our table: its TensorRT and CUDA were not compared"
        yield Remark("note", what, "wall-edge verify BUNDLE --engine tensorrt says whether it works")
    release = release_of(facts.l4t)
    if release and facts.jetpack and numbers(release.jetpack)[:2] != numbers(facts.jetpack)[:2]:
        what = f"the packages are of JetPack {facts.jetpack}, L4T {facts.l4t} is of {release.jetpack}"
        yield Remark("warning", what, "sudo apt update && sudo apt full-upgrade  # then restart")


def tensorrt(machine: Machine) -> Iterator[Remark]:
    """Absent, too old, or not the one that JetPack's driver takes; CUDA likewise."""
    facts, release = machine.facts, release_of(machine.facts.l4t)
    if facts.tensorrt is None:
        severity: Severity = "error" if machine.tensorrt else "note"
        yield Remark(severity, "TensorRT is not installed", "sudo apt install tensorrt python3-libnvinfer")
        return
    if numbers(facts.tensorrt) < _LEAST_TENSORRT:
        what = f"TensorRT {facts.tensorrt} is too old; the engines need 10.3"
        yield Remark("error" if machine.tensorrt else "warning", what, _FLASH)
    elif release and not same_release(facts.tensorrt, release.tensorrt):
        what = f"TensorRT {facts.tensorrt}, but JetPack {release.jetpack} comes with {release.tensorrt}"
        fix = "remove NVIDIA's server repository from /etc/apt/sources.list.d and reinstall nvidia-jetpack"
        yield Remark("warning", what, fix)
    if release and facts.cuda and not same_release(facts.cuda, release.cuda):
        what = f"CUDA {facts.cuda}, but JetPack {release.jetpack} comes with {release.cuda}"
        yield Remark(
            "warning", what, "sudo apt install nvidia-jetpack  # or point /usr/local/cuda to its own"
        )


def supported_gpu(machine: Machine) -> Iterator[Remark]:
    """TensorRT 10.13.3 for servers has no kernels of Orin's GPU."""
    facts = machine.facts
    if facts.sm == 87 and same_release(facts.tensorrt, "10.13.3"):
        what = f"TensorRT {facts.tensorrt} (the build for Arm servers) does not support Orin's SM87"
        fix = "remove it and NVIDIA's server repository; sudo apt install nvidia-jetpack brings JetPack's own"
        yield Remark("error", what, fix)


def dla_compiler(machine: Machine) -> Iterator[Remark]:
    """libnvinfer of L4T 36.4 (Orin) and 39 is linked against a library that some containers lack."""
    tree, facts = machine.tree, machine.facts
    orin = facts.sm == 87 and numbers(facts.l4t) >= (36, 4)
    if not (orin or numbers(facts.l4t)[:1] == (39,)) or facts.tensorrt is None:
        return
    folders = (_LIBRARIES, f"{_LIBRARIES}/nvidia", f"{_LIBRARIES}/tegra")
    if not any(tree.exists(f"{folder}/libnvdla_compiler.so") for folder in folders):
        what = "libnvdla_compiler.so is missing: 'import tensorrt' fails"
        fix = "sudo apt install nvidia-l4t-dla-compiler  # a container: run it with --runtime nvidia"
        yield Remark("error", what, fix)
