"""Memory: of the bundle that ROBOT.yaml names, and what else a board's unified memory is used for."""

from __future__ import annotations

from collections.abc import Iterator

from wall_edge.bundle import Bundle
from wall_edge.doctor.finding import Remark
from wall_edge.doctor.machine import Machine
from wall_edge.errors import WallEdgeError
from wall_edge.files import shown

_SMALL_BYTES = 20 << 30
"""Boards of 8 and 16 GB."""
_SWAP = (
    "sudo fallocate -l 16G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
    "sudo swapon /swapfile  # on an NVMe disk; a line in /etc/fstab keeps it"
)


def bundle(machine: Machine) -> Iterator[Remark]:
    """Whether the robot's bundle is there at all."""
    assert machine.robot is not None
    if not machine.robot.bundle.is_dir():
        what = f"the bundle {shown(machine.robot.bundle)} is not there"
        yield Remark("error", what, "wall-edge deploy BUNDLE USER@HOST, or wall-edge export")


def enough(machine: Machine) -> Iterator[Remark]:
    """Whether the bundle runs in this memory, by the estimate that ``wall-edge build`` refuses with."""
    assert machine.robot is not None
    facts, total = machine.facts, machine.facts.memory_total_bytes
    if facts.sm is None or total is None or not machine.tensorrt or not machine.robot.bundle.is_dir():
        return
    try:
        estimate, words = _estimate(machine)
    except WallEdgeError as problem:
        yield Remark("error", f"the bundle cannot be opened: {problem}", "copy or export it again")
        return
    sizes = f"running takes {words}; this machine has {total / 1e9:.2f} GB"
    if estimate > total:
        yield Remark("error", sizes, "export a smaller recipe: --precision int8-int4")
    elif facts.memory_available_bytes is not None and estimate > facts.memory_available_bytes:
        free = facts.memory_available_bytes / 1e9
        yield Remark("warning", f"{sizes}, of which {free:.2f} GB are free now", "end other programs")


def _estimate(machine: Machine) -> tuple[int, str]:
    """Bytes, and the arithmetic."""
    from wall_edge_engines.build.targets.memory import run_estimate
    from wall_edge_engines.build.targets.sizes import PolicySizes
    from wall_edge_engines.build.targets.target import target_of
    from wall_edge_engines.cuda.driver import DeviceFacts

    assert machine.robot is not None
    facts = machine.facts
    gpu = DeviceFacts("GPU", facts.sm or 0, facts.memory_total_bytes or 0, integrated=True, driver="")
    estimate = run_estimate(PolicySizes.of_bundle(Bundle(machine.robot.bundle)), target_of(gpu))
    return estimate.total, str(estimate)


def swap(machine: Machine) -> Iterator[Remark]:
    """Building holds three copies of the weights; a GPU's memory never swaps, a compiler's does."""
    facts = machine.facts
    if (facts.memory_total_bytes or _SMALL_BYTES) >= _SMALL_BYTES or facts.swap_bytes is None:
        return
    if facts.swap_bytes == 0:
        yield Remark("warning", "no swap on a disk: building engines may be killed for memory", _SWAP)
    if facts.zram_bytes:
        what = f"zram of {facts.zram_bytes / 1e9:.1f} GB compresses into the memory that the GPU shares"
        yield Remark("note", what, "sudo systemctl disable nvzramconfig  # once there is swap on a disk")


def desktop(machine: Machine) -> Iterator[Remark]:
    """A desktop takes some 0.8 GB of a small board."""
    if (machine.facts.memory_total_bytes or _SMALL_BYTES) >= _SMALL_BYTES:
        return
    tree = machine.tree
    links = (
        tree.link(f"{folder}/default.target") for folder in ("/etc/systemd/system", "/lib/systemd/system")
    )
    target = next((link for link in links if link is not None), "")
    if target.endswith("graphical.target"):
        fix = "sudo systemctl set-default multi-user.target  # then restart"
        yield Remark("note", "a desktop is started: it takes memory that the policy needs", fix)
