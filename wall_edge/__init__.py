"""wall-edge: the robot side."""
