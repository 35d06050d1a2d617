"""How fast each bus of a robot goes, beside what its line allows: ``wall-edge bench bus``."""

from wall_edge.bench.bus.figures import BusFigures, measure_bus, measure_twins

__all__ = ["BusFigures", "measure_bus", "measure_twins"]
