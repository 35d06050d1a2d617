"""What LeRobot saves of a policy: its settings by type, its processors and their statistics."""
