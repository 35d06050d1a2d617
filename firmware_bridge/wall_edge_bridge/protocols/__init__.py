"""Wire formats as pure functions: one module a protocol, import it by name."""

from wall_edge_bridge.protocols import feetech, feetech_parser, feetech_registers

__all__ = ["feetech", "feetech_parser", "feetech_registers"]
