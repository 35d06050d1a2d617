"""What keeps a robot's computer from running a policy well, each finding with its fix; udev rules."""

from wall_edge.doctor.diagnosis import CHECKS, Report, diagnose
from wall_edge.doctor.finding import Finding
from wall_edge.doctor.machine import Machine, Python, this_machine

__all__ = ["CHECKS", "Finding", "Machine", "Python", "Report", "diagnose", "this_machine"]
