"""What is plugged in: USB devices, and which of them a serial port, a camera or a bus adapter is.

Names and files: the kernel's ``Documentation/ABI/testing/sysfs-bus-usb``; by-id links are systemd's
(``60-serial.rules``).
"""

from __future__ import annotations

from dataclasses import dataclass

from wall_edge.board.facts import Tree

_DEVICES = "/sys/bus/usb/devices"
_BY_ID = "/dev/serial/by-id"
_SERIAL = ("ttyUSB", "ttyACM", "ttyCH343USB", "ttyXRUSB")


@dataclass(frozen=True)
class UsbDevice:
    """A device on a USB port. Its texts are whatever its maker burned in."""

    port: str
    """The kernel's name of where it is plugged in: ``1-2.3`` is bus 1, port 2, behind a hub its port 3."""
    vendor: str
    product: str
    """Four hexadecimal digits each."""
    serial: str | None
    name: str | None
    """What it calls itself."""
    megabits: float | None
    """Speed of its link [Mbit/s]."""

    @property
    def ids(self) -> str:
        """``vendor:product``."""
        return f"{self.vendor}:{self.product}"


def usb_devices(tree: Tree) -> tuple[UsbDevice, ...]:
    """All, by port."""
    devices = (_device(tree, f"{_DEVICES}/{name}") for name in tree.names(_DEVICES))
    return tuple(device for device in devices if device is not None)


def usb_device_of(tree: Tree, device: str) -> UsbDevice | None:
    """Which USB device something in sysfs (``/sys/class/tty/ttyUSB0``) belongs to; None for other buses."""
    folder = tree.real(f"{device}/device")
    while folder.count("/") > 2:
        usb = _device(tree, folder)
        if usb is not None:
            return usb
        folder = folder.rpartition("/")[0]
    return None


def serial_ports(tree: Tree) -> tuple[str, ...]:
    """USB serial ports by their kernel's name (ttyACM0)."""
    return tuple(name for name in tree.names("/sys/class/tty") if name.startswith(_SERIAL))


def stable_name(tree: Tree, port: str) -> str | None:
    """The link below /dev/serial/by-id to ``port`` (/dev/ttyACM0), if there is one."""
    for name in tree.names(_BY_ID):
        if tree.real(f"{_BY_ID}/{name}") == port:
            return f"{_BY_ID}/{name}"
    return None


def _device(tree: Tree, folder: str) -> UsbDevice | None:
    vendor, product = tree.text(f"{folder}/idVendor"), tree.text(f"{folder}/idProduct")
    if not vendor or not product:
        return None
    try:
        megabits = float(tree.text(f"{folder}/speed") or "")
    except ValueError:
        megabits = None
    return UsbDevice(
        port=folder.rpartition("/")[2],
        vendor=vendor,
        product=product,
        serial=tree.text(f"{folder}/serial") or None,
        name=tree.text(f"{folder}/product") or None,
        megabits=megabits,
    )
