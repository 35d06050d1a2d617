"""What the machine is and how it is set, from its files: a Jetson's releases, clocks, power and buses."""

from wall_edge.board.facts import Clock, Facts, Tree
from wall_edge.board.power import Rail, rails
from wall_edge.board.read import memory_sizes, read_facts

__all__ = ["Clock", "Facts", "Rail", "Tree", "memory_sizes", "rails", "read_facts"]
