"""The control table of a simulated motor: bytes to the bus, values inside."""

from __future__ import annotations

from wall_edge_bridge.kinds.dynamixel.registers import TABLE, TABLE_SIZE, Register

RANGE, LENGTH = 4, 5
"""Errors of a status: a value, or an address, out of range; not whole registers."""
_RANGES = {name: slice(each.address, each.address + each.length) for name, each in TABLE.items()}
_BY_ADDRESS = {register.address: register for register in TABLE.values()}
_MEASURED = ("present_voltage", "present_temperature")
"""Registers that a reboot does not change."""


class SimulatedTable:
    """As the motor left the factory."""

    def __init__(self) -> None:
        self._memory = bytearray(TABLE_SIZE)
        self._values: dict[str, int] = {}
        for name in _MEASURED:
            self.set(name, TABLE[name].default)
        self.to_defaults(0, TABLE_SIZE)

    @property
    def writable(self) -> bytes:
        """All that a host can write."""
        names = [register.name for register in TABLE.values() if register.access == "write"]
        return b"".join(bytes(self._memory[_RANGES[name]]) for name in names)

    def get(self, name: str) -> int:
        return self._values[name]

    def set(self, name: str, value: int) -> None:
        self._memory[_RANGES[name]] = TABLE[name].encode(value)
        self._values[name] = value

    def to_defaults(self, start: int, end: int) -> None:
        """The registers from one address to before another."""
        for register in TABLE.values():
            if start <= register.address < end and register.name not in _MEASURED:
                self.set(register.name, register.default)

    def read(self, address: int, count: int) -> bytes | None:
        """None beyond the table; what lies between registers is 0."""
        if count == 0 or address + count > TABLE_SIZE:
            return None
        return bytes(self._memory[address : address + count])


def changes(address: int, data: bytes) -> list[tuple[Register, int]] | None:
    """What a write would store: whole registers, one behind the other; None for anything else."""
    values: list[tuple[Register, int]] = []
    offset = 0
    while offset < len(data):
        register = _BY_ADDRESS.get(address + offset)
        if register is None or len(data) - offset < register.length:
            return None
        values.append((register, register.decode(data[offset : offset + register.length])))
        offset += register.length
    return values or None
