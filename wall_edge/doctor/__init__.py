"""What is wrong with a machine that should run a robot, each finding with its fix."""
