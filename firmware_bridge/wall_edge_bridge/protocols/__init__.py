"""Wire formats as pure functions: one module a protocol, import it by name."""

__all__ = ["feetech", "feetech_parser", "feetech_registers"]
