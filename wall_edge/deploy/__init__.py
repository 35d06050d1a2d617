"""A bundle from the workstation to the robot: copied, checked, built, verified, switched."""
