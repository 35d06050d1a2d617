"""All checks, by name: each is a small function of a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from wall_edge.doctor.checks import accounts, cameras, can, clocks, memory, python, releases, serial, system
from wall_edge.doctor.finding import Finding, Remark
from wall_edge.doctor.machine import Machine

Check = Callable[[Machine], Iterable[Remark]]


def _jetson(machine: Machine) -> bool:
    return machine.facts.is_jetson


def _any(machine: Machine) -> bool:  # noqa: ARG001
    return True


def _robot(machine: Machine) -> bool:
    return machine.robot is not None


def _real_robot(machine: Machine) -> bool:
    return machine.real_robot is not None


def _user(machine: Machine) -> bool:
    return machine.user is not None


def _interpreter(machine: Machine) -> bool:
    return machine.python is not None


CHECKS: dict[str, tuple[Callable[[Machine], bool], Check]] = {
    "jetpack": (_jetson, releases.jetpack),
    "tensorrt": (_jetson, releases.tensorrt),
    "tensorrt-gpu": (_jetson, releases.supported_gpu),
    "dla-compiler": (_jetson, releases.dla_compiler),
    "power-mode": (_jetson, clocks.power_mode),
    "super-modes": (_jetson, clocks.super_modes),
    "clocks": (_jetson, clocks.locked),
    "throttling": (_any, clocks.throttling),
    "power-supply": (_jetson, clocks.supply),
    "bundle": (_robot, memory.bundle),
    "memory": (_robot, memory.enough),
    "swap": (_jetson, memory.swap),
    "desktop": (_jetson, memory.desktop),
    "disk": (_any, system.disk),
    "container": (_any, system.container),
    "realtime-kernel": (_any, system.realtime_kernel),
    "isolated-cores": (_any, system.isolated_cores),
    "servo-core": (_real_robot, system.servo_core),
    "limits": (_user, accounts.limits),
    "groups": (_user, accounts.groups),
    "serial-port": (_real_robot, serial.port),
    "serial-console": (_real_robot, serial.console),
    "modem-manager": (_real_robot, serial.modem_manager),
    "latency-timer": (_any, serial.latency_timers),
    "usb-driver": (_any, serial.drivers),
    "brltty": (_any, serial.brltty),
    "cameras": (_real_robot, cameras.devices),
    "camera-bandwidth": (_real_robot, cameras.bandwidth),
    "can-interface": (_any, can.interfaces),
    "can-driver": (_jetson, can.driver),
    "python-tensorrt": (_interpreter, python.tensorrt),
    "python-cuda": (_interpreter, python.cuda_bindings),
    "python-onnxruntime": (_interpreter, python.onnxruntime),
}
"""Name → for which machines, and the check."""

_ORDER = ("error", "warning", "note")


@dataclass(frozen=True)
class Report:
    """What the checks found. ``checked``: the names of those that applied."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing keeps the robot from running."""
        return all(finding.severity != "error" for finding in self.findings)


def diagnose(machine: Machine) -> Report:
    """Runs every check that applies; the worst findings come first."""
    findings, checked = [], []
    for name, (applies, check) in CHECKS.items():
        if applies(machine):
            checked.append(name)
            findings += [Finding(**asdict(remark), check=name) for remark in check(machine)]
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Report(tuple(findings), tuple(checked))
