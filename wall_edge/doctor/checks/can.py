"""CAN interfaces: up, on the bus, heard, and brought up at the next start too.

Sources: the kernel's ``Documentation/networking/can.rst``; NVIDIA's Developer Guide, "Controller Area Network
(CAN)", for the pin multiplexer of the AGX Orin's header, which no file tells.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from wall_edge_bridge.drives import CanSettings

from wall_edge.board.can import (
    CanInterface,
    can_interfaces,
    configured,
    controllers,
    denied,
    pin_commands,
)
from wall_edge.config import can_channels
from wall_edge.doctor.finding import Remark, Severity
from wall_edge.doctor.machine import Machine
from wall_edge.files import shown

_QUEUE = 128
"""A burst to seven motors and their registers; the kernel's default of 10 refuses it (ENOBUFS)."""


def interfaces(machine: Machine) -> Iterator[Remark]:
    """Each interface that exists, virtual ones apart, and each that ROBOT.yaml names."""
    there = can_interfaces(machine.tree)
    for interface in there:
        if interface.driver is not None:
            yield from _interface(machine, interface)
    names = [interface.name for interface in there]
    for channel, (key, _) in _channels(machine).items():
        if channel not in names:
            others = ", ".join(map(shown, names)) or "no CAN interface"
            what = f"{key} {shown(channel)} is not there; {others} is"
            fix = "plug its adapter in, load the driver of the board's own CAN, or name another in ROBOT.yaml"
            yield Remark("error", what, fix)


def _channels(machine: Machine) -> dict[str, tuple[str, CanSettings]]:
    """Interfaces that a real robot uses: the key in its ROBOT.yaml, and the bit rates."""
    drives = {} if machine.real_robot is None else machine.real_robot.drives
    return {settings.channel: (key, settings) for key, settings in can_channels(drives).items()}


def _rates(settings: CanSettings | None) -> tuple[int, int | None]:
    """Bit rates as the robot has them, or as most motors come."""
    return (1_000_000, None) if settings is None else (settings.bitrate, settings.data_bitrate)


def _interface(machine: Machine, interface: CanInterface) -> Iterator[Remark]:
    """One that nobody set up is no fault: some releases load mttcan by themselves, a robot may be serial."""
    name = shlex.quote(shown(interface.name))
    _, settings = _channels(machine).get(interface.name, ("", None))
    bitrate, data_bitrate = _rates(settings)
    options = f" --bitrate {bitrate}" if settings is not None else ""
    options += f" --data-bitrate {data_bitrate}" if data_bitrate is not None else ""
    at_each_start = f"wall-edge udev --can --interface {name}{options} | sudo sh"
    file = configured(machine.tree, interface.name)
    if not interface.up and file is None and settings is None:
        if machine.real_robot is None:
            what = f"{name} is down, and no file of systemd-networkd brings it up: for a robot on CAN"
            yield Remark("note", what, at_each_start)
        return
    up = f"sudo ip link set {name} up type can bitrate {bitrate}"
    up += f" dbitrate {data_bitrate} fd on" if data_bitrate is not None else ""
    if not interface.up:
        severity: Severity = "warning" if settings is None else "error"
        yield Remark(severity, f"{name} is down", f"{up}  # with the bitrate of the motors")
    elif interface.carrier is False:
        what = f"{name} is off the bus: too many errors"
        fix = (
            f"sudo ip link set {name} down && {up} restart-ms 100"
            "  # check bitrate, wires, 120 ohm at both ends"
        )
        yield Remark("warning", what, fix)
    elif interface.received == 0 and interface.errors:
        what = f"{name} heard nothing and counts {interface.errors} errors: nobody acknowledges"
        yield Remark(
            "warning", what, f"check power, transceiver, wires and bitrate{_pins(machine, interface)}"
        )
    if file is None:
        what = f"no file of systemd-networkd brings {name} up at the start"
        yield Remark("note", what, at_each_start)
    elif interface.driver == "mttcan" and (denial := denied(machine.tree)) is not None:
        yield Remark("note", f"{shown(denial)} keeps the start from loading mttcan", _allow(denial))
    if interface.queue is not None and interface.queue < _QUEUE:
        what = f"{name} queues {interface.queue} frames: a burst to all motors is refused"
        yield Remark("note", what, f"sudo ip link set {name} txqueuelen 1000")


def _pins(machine: Machine, interface: CanInterface) -> str:
    commands = pin_commands(machine.facts.part_number, interface)
    return f"; the AGX Orin's header pins are GPIO until: {' && '.join(commands)}" if commands else ""


def _allow(file: str) -> str:
    return f"sudo sed -i 's/^ *blacklist  *mttcan/# &/' {shlex.quote(shown(file))}"


def driver(machine: Machine) -> Iterator[Remark]:
    """The board's own controllers are switched on, and their module is not loaded.

    That is how JetPack comes, and no fault of a robot on a serial port.
    """
    nodes = controllers(machine.tree)
    missing = set(_channels(machine)) - {interface.name for interface in can_interfaces(machine.tree)}
    of_interest = machine.real_robot is None or missing
    if of_interest and nodes and not machine.tree.exists("/sys/module/mttcan"):
        what = f"the board's CAN ({', '.join(map(shown, nodes))}) has no driver loaded: for a robot on CAN"
        file = "/etc/modules-load.d/wall-edge-can.conf"
        fix = f"sudo modprobe -a can can_raw mttcan && echo mttcan | sudo tee {file}"
        denial = denied(machine.tree)
        fix += f" && {_allow(denial)}" if denial is not None else ""
        yield Remark("note", what, fix)
