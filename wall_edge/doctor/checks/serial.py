"""Serial ports: there, under a name that stays, with nobody else on them, and answering at once.

Sources: systemd's ``60-serial.rules`` (by-id), ModemManager's documentation ("Port and device filtering": it
opens ttyACM ports and writes AT commands), Ubuntu's bug 1958224 (brltty takes 1a86:7523), FTDI's AN232B-04
(latency timer, 16 ms by default), the tables of the kernel's drivers (``gs_usb.c``, ``ch341.c``,
``cp210x.c``, ``ftdi_sio_ids.h``); kernels of JetPack 6 and 7 are built without gs_usb and ch341 (reports of
users).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from wall_edge.board import Tree
from wall_edge.board.usb import serial_ports, stable_name, usb_devices
from wall_edge.config import serial_devices
from wall_edge.doctor.finding import Remark
from wall_edge.doctor.machine import Machine
from wall_edge.files import shown

_UDEV = "wall-edge udev ROBOT.yaml | sudo tee /etc/udev/rules.d/99-wall-edge.rules"
_LATENCY = "/sys/bus/usb-serial/devices"
_WANTS = "/etc/systemd/system/multi-user.target.wants"
_DRIVERS = {
    "1d50:606f": "gs_usb",
    "1209:2323": "gs_usb",
    "1209:ca01": "gs_usb",
    "1cd2:606f": "gs_usb",
    "16d0:10b8": "gs_usb",
    "16d0:0f30": "gs_usb",
    "1a86:7523": "ch341",
    "1a86:7522": "ch341",
    "1a86:5523": "ch341",
    "10c4:ea60": "cp210x",
    "0403:6001": "ftdi_sio",
    "0403:6010": "ftdi_sio",
    "0403:6011": "ftdi_sio",
    "0403:6014": "ftdi_sio",
    "0403:6015": "ftdi_sio",
    "1a86:55d3": "cdc_acm",
    "1a86:55d4": "cdc_acm",
    "2f5d:2202": "cdc_acm",
}
"""Adapters of robot buses and the kernel's modules for them."""


def port(machine: Machine) -> Iterator[Remark]:
    """The ports that ROBOT.yaml names."""
    for key, name in _devices(machine).items():
        yield from _port(machine.tree, key, name)


def _port(tree: Tree, key: str, name: str) -> Iterator[Remark]:
    if not tree.exists(name):
        ports = [stable_name(tree, f"/dev/{port}") or f"/dev/{port}" for port in serial_ports(tree)]
        there = f"plugged in: {', '.join(map(shown, ports))}" if ports else "no USB serial port is plugged in"
        what = f"{key} {shown(name)} is not there; {there}"
        yield Remark("error", what, f"plug it in and power it, or name another {key} in ROBOT.yaml")
    elif re.fullmatch(r"/dev/tty(USB|ACM)\d+", name):
        stable, word = stable_name(tree, name), key.rpartition(".")[2]
        fix = f"{word}: {shown(stable)} in ROBOT.yaml" if stable else f"{_UDEV}  # then name its link"
        yield Remark("warning", f"{key} {name}: the number changes with the order of plugging in", fix)


def _devices(machine: Machine) -> dict[str, str]:
    """Those of a real robot, by their keys in ROBOT.yaml."""
    return {} if machine.real_robot is None else serial_devices(machine.real_robot.drives)


def _real_devices(machine: Machine) -> list[str]:
    """The same as the kernel names them."""
    return [machine.tree.real(name) for name in _devices(machine).values()]


def console(machine: Machine) -> Iterator[Remark]:
    """A login on the UART of the header mixes with the motors' bytes."""
    for uart in _real_devices(machine):
        if uart.startswith("/dev/ttyTHS") and machine.tree.link(f"{_WANTS}/nvgetty.service") is not None:
            what = f"nvgetty offers a login on {uart}"
            yield Remark("error", what, "sudo systemctl disable --now nvgetty && sudo udevadm trigger")


def modem_manager(machine: Machine) -> Iterator[Remark]:
    """It opens each new ttyACM port for seconds and writes AT commands to the motors."""
    tree = machine.tree
    rules = "".join(
        tree.text(f"/etc/udev/rules.d/{name}") or ""
        for name in tree.names("/etc/udev/rules.d")
        if "wall-edge" in name
    )
    runs = tree.link(f"{_WANTS}/ModemManager.service") is not None
    acm = any(name.startswith("/dev/ttyACM") for name in _real_devices(machine))
    if runs and acm and "ID_MM_" not in rules:
        fix = f"sudo systemctl disable --now ModemManager  # or {_UDEV}"
        yield Remark("warning", "ModemManager writes to ttyACM ports that appear", fix)


def latency_timers(machine: Machine) -> Iterator[Remark]:
    """FTDI's chips keep what the motors answered for 16 ms."""
    tree, ours = machine.tree, _real_devices(machine)
    for name in tree.names(_LATENCY):
        milliseconds = tree.number(f"{_LATENCY}/{name}/latency_timer")
        if milliseconds is None or milliseconds <= 1:
            continue
        what = f"{shown(name)} keeps answers for {milliseconds} ms (latency_timer)"
        file = shlex.quote(f"{_LATENCY}/{shown(name)}/latency_timer")
        fix = f"echo 1 | sudo tee {file}  # for good: {_UDEV}"
        yield Remark("warning" if machine.real_robot is None or f"/dev/{name}" in ours else "note", what, fix)


def drivers(machine: Machine) -> Iterator[Remark]:
    """Adapters that the kernel has no module for."""
    kernel = machine.facts.kernel
    if kernel is None or not machine.tree.exists(f"/lib/modules/{kernel}/modules.dep"):
        return
    modules = _modules(machine, kernel)
    for device in usb_devices(machine.tree):
        module = _DRIVERS.get(device.ids)
        if module is not None and module not in modules:
            fix = f"build {module} for {kernel} from NVIDIA's kernel sources"
            if module == "gs_usb":
                fix += ", or use the PyPI package gs_usb, or the board's own CAN"
            what = f"{device.ids} is plugged in at {device.port}, and the kernel has no {module}"
            yield Remark("warning", what, fix)


def _modules(machine: Machine, kernel: str) -> set[str]:
    """Loaded, loadable and built in."""
    names = set(machine.tree.names("/sys/module"))
    for file in ("modules.dep", "modules.builtin"):
        text = machine.tree.text(f"/lib/modules/{kernel}/{file}") or ""
        names |= {name.replace("-", "_") for name in re.findall(r"([\w-]+)\.ko\b[^\s:]*:?", text)}
    return names


def brltty(machine: Machine) -> Iterator[Remark]:
    """On Ubuntu 22.04 the braille daemon takes CH340 adapters for a display, and the port vanishes."""
    adapter = any(device.ids == "1a86:7523" for device in usb_devices(machine.tree))
    if adapter and "brltty" in machine.packages:
        yield Remark("warning", "brltty takes the CH340 adapter (1a86:7523) away", "sudo apt remove brltty")
