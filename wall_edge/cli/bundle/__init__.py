"""Commands about a bundle: look, build, check, bring to the robot."""
