"""The system: disk, containers, a real-time kernel and cores of its own for the servo loop.

Measured by WIM Robotics on an AGX Orin (their figures): a real-time kernel alone is late by more than 100 µs
while the GPU works, with an isolated core by less than 20 µs.
"""

from __future__ import annotations

from collections.abc import Iterator

from wall_edge.board import Facts
from wall_edge.board.read import cores
from wall_edge.board.releases import numbers
from wall_edge.doctor.finding import Remark, Severity
from wall_edge.doctor.machine import Machine
from wall_edge.files import shown

_DISK_BYTES = 10_000_000_000
"""Room for a bundle and the engines beside it."""
_RT_PACKAGES = (
    "nvidia-l4t-rt-kernel nvidia-l4t-rt-kernel-headers nvidia-l4t-rt-kernel-oot-modules "
    "nvidia-l4t-display-rt-kernel"
)


def _rt_packages(facts: Facts) -> str:
    """Since release 38 the GPU's module is a package of its own (Developer Guide, "Real-Time Kernel")."""
    driver = {87: "nvgpu", 110: "openrm"}.get(facts.sm or 0)
    own = f" nvidia-l4t-rt-kernel-{driver}" if driver and numbers(facts.l4t) >= (38,) else ""
    return _RT_PACKAGES + own


def disk(machine: Machine) -> Iterator[Remark]:
    """A full disk ends the event log, and a build half-way."""
    free = machine.free_bytes
    if free is not None and free < _DISK_BYTES:
        severity: Severity = "error" if free < _DISK_BYTES // 20 else "warning"
        what = (
            f"{free / 1e9:.1f} GB of disk are free; a bundle and its engines take some {_DISK_BYTES / 1e9:g}"
        )
        yield Remark(severity, what, "sudo apt clean  # and remove old bundles and recordings")


def container(machine: Machine) -> Iterator[Remark]:
    """In a container users, packages and services are its own; kernel and clocks are the machine's."""
    if machine.tree.exists("/.dockerenv") or machine.tree.exists("/run/.containerenv"):
        what = "this is a container: users, packages and services of the machine itself were not checked"
        yield Remark("note", what, "run wall-edge doctor on the machine too")


def realtime_kernel(machine: Machine) -> Iterator[Remark]:
    """A kernel without PREEMPT_RT is late by milliseconds now and then."""
    facts = machine.facts
    if facts.realtime:
        return
    if facts.is_jetson:
        version = ".".join(map(str, numbers(facts.l4t)[:2])) or "36.4"
        fix = (
            f"echo 'deb https://repo.download.nvidia.com/jetson/rt-kernel r{version} main' | "
            "sudo tee -a /etc/apt/sources.list.d/nvidia-l4t-apt-source.list && "
            f"sudo apt update && sudo apt install {_rt_packages(facts)}  # a developer preview; then restart"
        )
        if "nvidia-l4t-rt-kernel" in machine.packages:
            fix = "it is installed: set DEFAULT real-time in /boot/extlinux/extlinux.conf and restart"
    else:
        fix = "install the distribution's real-time kernel (Ubuntu: pro enable realtime-kernel)"
    yield Remark("note", f"kernel {facts.kernel or '?'} is not a real-time kernel", fix)


def isolated_cores(machine: Machine) -> Iterator[Remark]:
    """On a real-time kernel the servo loop wants a core that nothing else runs on, and must be told which."""
    isolated = machine.facts.isolated_cores
    if not isolated:
        if machine.facts.realtime:
            words = "isolcpus=3 nohz_full=3 rcu_nocbs=3"
            fix = f"append {words} to APPEND in /boot/extlinux/extlinux.conf and restart"
            yield Remark("note", "a real-time kernel, but no core is isolated for the servo loop", fix)
        return
    if machine.real_robot is not None and machine.real_robot.control.cpu not in isolated:
        cpu = machine.real_robot.control.cpu
        asked = "not set" if cpu is None else cpu
        what = f"cores {', '.join(map(str, isolated))} are isolated, but control.cpu is {asked}"
        yield Remark("warning", what, f"control: {{cpu: {isolated[0]}}} in ROBOT.yaml")


def servo_core(machine: Machine) -> Iterator[Remark]:
    """The core that ROBOT.yaml names: boards have 6 to 14, and slower power modes switch some off."""
    assert machine.real_robot is not None
    cpu, text = machine.real_robot.control.cpu, machine.tree.text("/sys/devices/system/cpu/online")
    if cpu is not None and text and cpu not in cores(text):
        what = f"control.cpu is {cpu}, but the cores that are on are {shown(text, 40)}"
        yield Remark("error", what, "name one of them in ROBOT.yaml, or choose a power mode that has it")
