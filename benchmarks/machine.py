"""The lines that every benchmark prints with its figures: machine, versions, date."""

from wall_edge.machine import facts

__all__ = ["facts"]
