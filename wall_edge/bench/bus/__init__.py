"""How fast each bus of a robot goes, beside what its line allows: ``wall-edge bench bus``."""

from wall_edge.bench.bus.alone import AloneFigures, cycles_after_loss, measure_alone
from wall_edge.bench.bus.figures import BusFigures, measure_bus
from wall_edge.bench.bus.served import served

__all__ = [
    "AloneFigures",
    "BusFigures",
    "cycles_after_loss",
    "measure_alone",
    "measure_bus",
    "served",
]
